"""A real Kubernetes and a real object store for tests marked ``k8s``: those of ../shared, or none, and then they say so."""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
HOST = "10.89.0.1"
"""The machine as pods reach it."""
IMAGE = "localhost/updraft-trainer"
REGION = "us-east-1"
_KUBE = """#!/bin/sh
[ "$1" != kubelet ] || echo "podLogsDir: $(dirname "$3")/logs" >> "$3"
exec "$(dirname "$0")/kube-itself" "$@"
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--k8s", action="store_true", help="run the tests that need a real cluster (make test-k8s)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (SHARED / "k8s" / "up").exists():
        why = None if config.getoption("--k8s") else "needs a cluster: make test-k8s"
    else:
        why = f"needs a cluster, and {SHARED / 'k8s'} is not there to start one"
    for item in items:
        if not item.get_closest_marker("k8s"):
            continue
        if not item.path.is_relative_to(ROOT / "tests" / "k8s"):
            raise pytest.UsageError(
                f"{item.nodeid}: a test that is marked k8s stands in tests/k8s, where the check looks for it"
            )
        if why:
            item.add_marker(pytest.mark.skip(reason=why))


@dataclass(frozen=True)
class ObjectStore:
    """An S3 endpoint with a bucket for this test run, and the accounts that docs/kubernetes.md asks for."""

    env: dict[str, str]
    """Variables of Airflow, with the rights of docker/s3/airflow.json."""
    trainer: dict[str, str]
    """Variables of the pods, with the rights of docker/s3/trainer.json."""
    admin: dict[str, str]
    """Of who may do everything: of the tests."""
    bucket: str
    identities: Any
    """A client of its IAM, which makes accounts."""

    @property
    def lake(self) -> str:
        return f"s3://{self.bucket}/lake"


@dataclass(frozen=True)
class RunningCluster:
    """The cluster, with the namespace, the rights and the Secret that docs/kubernetes.md asks for."""

    admin: Path
    """Kubeconfig that may do everything: of the tests."""
    launcher: Path
    """Kubeconfig of the service account `updraft-launcher`, which has the rights of docker/kubernetes/rbac.yaml and no others: of Airflow."""
    image: str
    variant: str
    """What docker/trainer/build calls it."""
    namespace: str = "updraft"

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """A client's output."""
        home = self.admin.parent
        done = subprocess.run(
            [home / "bin" / "kubectl", "--kubeconfig", self.admin, *arguments],
            input=text, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pods(self, selector: str = "app.kubernetes.io/managed-by=updraft") -> list[dict[str, Any]]:
        """The pods of the namespace with some labels."""
        found = json.loads(self.kubectl("-n", self.namespace, "get", "pods", "-l", selector, "-o", "json"))
        return list(found["items"])


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """The object store of ../shared/s3, reached by pods too."""
    if not (SHARED / "s3" / "versitygw.xz").exists():
        pytest.skip(f"needs an object store, and {SHARED / 's3'} is not there to start one")
    with running_object_store() as store:
        yield store


@contextmanager
def running_object_store() -> Iterator[ObjectStore]:
    """An object store of this process alone, where pods reach it when the cluster is up; it ends with the block.

    The environment has Airflow's key meanwhile.
    """
    address = HOST if (SHARED / "k8s" / "up").exists() and _has(HOST) else "127.0.0.1"
    with tempfile.TemporaryDirectory(prefix="updraft-s3-", dir="/var/tmp") as home, ExitStack() as stack:
        env, identities = _started_store(Path(home), address, stack)
        bucket = f"updraft-{uuid.uuid4().hex[:12]}"
        _client("s3", env).create_bucket(Bucket=bucket)
        lake = f"s3://{bucket}/lake"
        airflow, trainer = (account(identities, env, name, lake) for name in ("airflow", "trainer"))
        with _in_environment(airflow):
            yield ObjectStore(airflow, trainer, env, bucket, identities)


def _started_store(home: Path, address: str, stack: ExitStack) -> tuple[dict[str, str], Any]:
    """Start versitygw with its IAM service, so that it enforces policies; its administrator's variables, and a client of IAM."""
    program, door, root = home / "versitygw", home / "iam.sock", {"key": "updraft", "secret": uuid.uuid4().hex}
    with lzma.open(SHARED / "s3" / "versitygw.xz") as packed, program.open("wb") as file:
        shutil.copyfileobj(packed, file)
    program.chmod(0o755)
    for name in ("iam", "data", "versions"):
        (home / name).mkdir()
    iam, store = f"127.0.0.1:{free_port('127.0.0.1')}", f"{address}:{free_port(address)}"
    commands: dict[str, list[str | Path]] = {
        iam: ["iam", "--dir", home / "iam", "--private-ports", door],
        store: ["--iam-cache-disable", "--iam-standalone-endpoint", door, "posix"],
    }
    commands[store] += ["--versioning-dir", home / "versions", home / "data"]
    env = {**os.environ, "ROOT_ACCESS_KEY": root["key"], "ROOT_SECRET_KEY": root["secret"]}
    for port, command in commands.items():
        log = stack.enter_context((home / f"{port}.log").open("w"))
        running = subprocess.Popen(
            [program, "--port", port, "--region", REGION, *command], env=env, stdout=log, stderr=log
        )
        stack.callback(_ended, running)
        _wait_for(port, Path(log.name))
    variables = {
        "AWS_ENDPOINT_URL": f"http://{store}",
        "AWS_ACCESS_KEY_ID": root["key"],
        "AWS_SECRET_ACCESS_KEY": root["secret"],
        "AWS_DEFAULT_REGION": REGION,
    }
    return variables, _client("iam", {**variables, "AWS_ENDPOINT_URL": f"http://{iam}"})


def _ended(program: subprocess.Popen[bytes]) -> None:
    program.terminate()
    program.wait(30)


def _wait_for(address: str, log: Path) -> None:
    host, _, port = address.rpartition(":")
    for _ in range(100):
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the object store does not start: {log.read_text()}")


def _client(service: str, env: dict[str, str]) -> Any:
    import botocore.session

    return botocore.session.Session().create_client(
        service,
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )


def account(identities: Any, env: dict[str, str], name: str, *arguments: str) -> dict[str, str]:
    """Make an account of the store with a policy of docker/s3; its variables.

    :param identities: a client of the store's IAM.
    :param arguments: of docker/s3/policy after the account's name.
    """
    made = subprocess.run(
        [ROOT / "docker" / "s3" / "policy", name, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    user = f"{name}-{uuid.uuid4().hex[:8]}"
    identities.create_user(UserName=user)
    identities.put_user_policy(UserName=user, PolicyName="updraft", PolicyDocument=made.stdout)
    key = identities.create_access_key(UserName=user)["AccessKey"]
    return {**env, "AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


@contextmanager
def _in_environment(env: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunningCluster:
    """A Kubernetes with the trainer's image on its nodes. It stays up: the next run finds it."""
    start_cluster()  # first: the store listens on its bridge
    store = request.getfixturevalue("object_store")
    return prepared_cluster(store, tmp_path_factory.mktemp("launcher") / "kubeconfig")


def prepared_cluster(store: ObjectStore, launcher: Path) -> RunningCluster:
    """The cluster with the image, the rights, the Secret, and a kubeconfig of Airflow's account at ``launcher``."""
    admin = start_cluster()
    variant = _variant()
    found = RunningCluster(admin, launcher, _image_on_the_nodes(variant), variant)
    for name in ("rbac.yaml", "networkpolicy.yaml"):
        found.kubectl("apply", "-f", str(ROOT / "docker" / "kubernetes" / name))
    found.kubectl("apply", "-f", "-", text=_secret(store.trainer))
    token = found.kubectl("-n", found.namespace, "create", "token", "updraft-launcher", "--duration", "8h").strip()
    config = yaml.safe_load(admin.read_text())
    config["users"] = [{"name": "admin", "user": {"token": token}}]
    found.launcher.write_text(yaml.safe_dump(config))
    return found


def start_cluster() -> Path:
    """Start the cluster, or mend what died of it; the administrator's kubeconfig."""
    _let_nodes_keep_their_logs(Path(os.environ.get("K8S_HOME", "/var/tmp/k8s")) / "bin")
    for _ in range(30):  # now and then its own check of the network fails, and succeeds when asked again
        done = subprocess.run([SHARED / "k8s" / "up"], capture_output=True, text=True, check=False, timeout=400)
        if done.returncode == 0:
            return Path(done.stdout.split()[-1])
        time.sleep(1)
    raise RuntimeError(f"the cluster does not start: {done.stderr}")


def _let_nodes_keep_their_logs(programs: Path) -> None:
    """Give each kubelet a folder of its own for the logs of its pods.

    Once a minute a kubelet removes the logs of pods that it does not know. On one machine, with one folder, those are the running pods of
    the other node: every fifth training of these tests lost its log.
    """
    program, itself = programs / "kube", programs / "kube-itself"
    if itself.exists():
        return
    programs.mkdir(parents=True, exist_ok=True)
    if program.exists():
        program.rename(itself)  # of a cluster that is up already: a kubelet of it does so from its next start
    else:
        with lzma.open(SHARED / "k8s" / "kube.xz") as packed, (programs / "kube.part").open("wb") as file:
            shutil.copyfileobj(packed, file)
        (programs / "kube.part").chmod(0o755)
        (programs / "kube.part").rename(itself)
    program.write_text(_KUBE)
    program.chmod(0o755)


def _secret(env: dict[str, str]) -> str:
    values = {name: base64.b64encode(value.encode()).decode() for name, value in env.items()}
    metadata = {"name": "updraft-trainer", "namespace": "updraft"}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": values})


def _variant() -> str:
    """With PyTorch where its CPU build is at hand."""
    places = os.environ.get("PIP_FIND_LINKS", "").split()
    return "cpu-torch" if any(Path(place).glob("torch-*+cpu*.whl") for place in places) else "cpu"


def _image_on_the_nodes(variant: str) -> str:
    """Build the trainer from this checkout, unless it was built from the same files before."""
    parts = [*sorted((ROOT / "docker" / "trainer").glob("*")), *sorted((ROOT / "include" / "updraft").rglob("*"))]
    digest = hashlib.sha256(variant.encode())
    for path in parts:
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    image = f"{IMAGE}:{digest.hexdigest()[:16]}"
    subprocess.run([SHARED / "k8s" / "base-image"], capture_output=True, check=True, timeout=600)
    listed = ["ctr", "-a", "/run/k8s-gpu/containerd.sock", "-n", "k8s.io", "images", "list", "-q"]
    if image in subprocess.run(listed, capture_output=True, text=True, check=True, timeout=60).stdout.split():
        return image
    env = {**os.environ, "BASE": "localhost/python:3.11-slim", "BUILDER": "buildah"}
    build: list[str | Path] = [ROOT / "docker" / "trainer" / "build", variant, image]
    load: list[str | Path] = [SHARED / "k8s" / "load-image", image]
    for command in (build, load):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]
    return image


def _has(address: str) -> bool:
    """Whether this machine answers at an address (the cluster's bridge is up)."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
