"""What a training's key to the object store opens, and what it does not: tried on a store that enforces the policies of docker/s3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import s3fs
from tests.support.cluster import account
from tests.support.training_case import SOURCE, write_request

from updraft import files
from updraft.jobs.contract import TrainingRequest, TrainingResult

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / "docker" / "s3" / "policy"


@pytest.fixture(scope="module")
def project(object_store):
    """URL of a project's part of the lake, as Airflow writes it: a private raw zone, partitions, and two runs with their requests."""
    lake = f"{object_store.lake}/p{uuid.uuid4().hex[:8]}"
    request = write_request(lake, params={"max_depth": 3, "rounds": 20, "checkpoint_every": 5})
    for run in ("mine", "other"):
        folder = f"{lake}/trainings/{run}"
        files.write_bytes(f"{folder}/features.py", SOURCE)
        asked = {"output_url": folder, "features_path": f"{folder}/features.py"}
        TrainingRequest.model_validate({**request.model_dump(), **asked}).write(f"{folder}/request.json")
        for name in ("plan.json", "evaluation.json"):
            files.write_bytes(f"{folder}/{name}", b"{}")
    for name in ("raw/2013/flights.parquet", "partitions/2013.parquet", "quarantine/2013.parquet", "dvc/files/md5/a"):
        files.write_bytes(f"{lake}/{name}", b"a private value")
    return lake


@pytest.fixture(scope="module")
def pod(object_store):
    """The store as a hostile pod reaches it."""
    return s3fs.S3FileSystem(
        key=object_store.trainer["AWS_ACCESS_KEY_ID"],
        secret=object_store.trainer["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=object_store.trainer["AWS_ENDPOINT_URL"],
        skip_instance_cache=True,
        use_listings_cache=False,
    )


def test_a_training_runs_from_start_to_end_with_the_pods_key(project, object_store):
    env = {**os.environ, **object_store.trainer}
    command = [sys.executable, "-m", "updraft.cli", "train", "run", f"{project}/trainings/mine/request.json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = TrainingResult.read(f"{project}/trainings/mine/result.json")
    assert result.rounds > 0
    assert not files.exists(f"{project}/trainings/mine/checkpoint/proof.json")


@pytest.mark.parametrize(
    "name",
    ["raw/2013/flights.parquet", "partitions/2013.parquet", "quarantine/2013.parquet", "dvc/files/md5/a"],
)
def test_what_no_training_reads_is_closed_to_its_key(project, pod, name):
    with pytest.raises(PermissionError):
        pod.cat_file(f"{project}/{name}")
    with pytest.raises(PermissionError):
        pod.ls(f"{project}/{name.split('/')[0]}")
    with pytest.raises(PermissionError):  # nor by a copy that the store makes
        pod.cp_file(f"{project}/{name}", f"{project}/trainings/mine/model/stolen")


WRITTEN_BY_AIRFLOW = [
    "raw/2013/flights.parquet",
    "partitions/2013.parquet",
    "features/2013-01-07T0500.parquet",
    "labels/2013-01-07T0500.parquet",
    "snapshots/forged.json",
    "trainings/mine/request.json",
    "trainings/mine/features.py",
    "trainings/mine/plan.json",
    "trainings/other/request.json",
    "trainings/other/features.py",
    "trainings/other/evaluation.json",
    "proofs/other/forged.parquet",
    "elsewhere",
]


@pytest.mark.parametrize("name", WRITTEN_BY_AIRFLOW)
def test_what_airflow_writes_is_neither_overwritten_nor_removed_with_a_pods_key(project, pod, name):
    before = files.read_bytes(f"{project}/{name}") if files.exists(f"{project}/{name}") else None
    with pytest.raises(PermissionError):
        pod.pipe_file(f"{project}/{name}", b"forged")
    with pytest.raises(PermissionError):
        pod.pipe_file(f"{project}/{name}", b"forged" * 10**6, chunksize=5 * 2**20)  # in parts
    with pytest.raises(PermissionError):
        pod.rm_file(f"{project}/{name}")
    after = files.read_bytes(f"{project}/{name}") if files.exists(f"{project}/{name}") else None
    assert after == before


def test_a_finished_result_is_not_removed_with_a_pods_key(project, pod):
    files.write_bytes(f"{project}/trainings/other/result.json", b"{}")
    with pytest.raises(PermissionError):
        pod.rm_file(f"{project}/trainings/other/result.json")


def test_the_bucket_itself_is_closed_to_a_pods_key(object_store, pod):
    with pytest.raises(PermissionError):
        pod.ls(object_store.bucket)
    with pytest.raises(PermissionError):
        pod.call_s3("put_bucket_policy", Bucket=object_store.bucket, Policy="{}")
    with pytest.raises(PermissionError):
        pod.call_s3("list_object_versions", Bucket=object_store.bucket)


def test_a_key_for_one_project_opens_no_other(object_store, project):
    mine = account(object_store.identities, object_store.trainer, "trainer", object_store.lake, "mine")
    store = s3fs.S3FileSystem(
        key=mine["AWS_ACCESS_KEY_ID"],
        secret=mine["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=mine["AWS_ENDPOINT_URL"],
        skip_instance_cache=True,
    )
    store.pipe_file(f"{object_store.lake}/mine/trainings/r/result.json", b"{}")
    with pytest.raises(PermissionError):
        store.cat_file(f"{project}/trainings/other/request.json")
    with pytest.raises(PermissionError):
        store.pipe_file(f"{project}/trainings/other/result.json", b"{}")


def test_airflows_key_opens_the_lake_and_nothing_beside_it(object_store):
    files.write_bytes(f"{object_store.lake}/own/x", b"1")
    assert files.read_bytes(f"{object_store.lake}/own/x") == b"1"
    store = s3fs.S3FileSystem(skip_instance_cache=True)  # Airflow's key is in the environment
    with pytest.raises(PermissionError):
        store.pipe_file(f"{object_store.bucket}/beside-the-lake", b"1")
    with pytest.raises(PermissionError):
        store.call_s3("delete_bucket_policy", Bucket=object_store.bucket)


@pytest.mark.parametrize(
    "arguments",
    [
        ["trainer", "s3://bucket/*"],
        ["trainer", "s3://bucket/lake", "a*"],
        ["trainer", "s3://bucket/lake", "../raw"],
        ["trainer", "https://bucket/lake"],
        ["root", "s3://bucket/lake"],
        ["trainer", 's3://bucket/la"ke'],
    ],
)
def test_a_wildcard_or_a_quote_makes_no_wider_policy(arguments):
    done = subprocess.run([POLICY, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout == ""


def test_a_lake_at_the_top_of_its_bucket_is_told_apart_from_the_bucket():
    done = subprocess.run([POLICY, "airflow", "s3://bucket/"], capture_output=True, text=True, check=True)
    [keep, tell] = json.loads(done.stdout)["Statement"]
    assert keep["Resource"] == ["arn:aws:s3:::bucket/*"]
    assert tell["Condition"] == {"StringLike": {"s3:prefix": ["*"]}}
