from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.support.training_case import KEYS, SOURCE, features_and_labels, write_request
from tests.support.without_torch.sitecustomize import torch_hidden

from updraft.errors import DataError, IntegrityError, MLflowAway, TrainingError, Transient
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.run import run_training
from updraft.jobs.tracking import REQUEST_TAG
from updraft.registry.mlflow_registry import ModelRegistry
from updraft.registry.signing import SIGNATURE, sign
from updraft.training.model import load_model


@dataclass(frozen=True)
class Case:
    project: str
    request: TrainingRequest
    result: TrainingResult
    registry: ModelRegistry
    lake: Path
    server: Path


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return tmp_path_factory.mktemp("a lake")


@pytest.fixture
def case(mlflow_url, mlflow_folder, lake, tmp_path):
    """A trained request of a project of the test's own, not registered yet."""
    project = f"flights_{uuid.uuid4().hex[:8]}"
    request = write_request(f"file://{lake}", project=project, tracking_uri=mlflow_url, output_url=f"{lake}/{project}")
    result = run_training(request.write(f"{lake}/{project}/request.json"))
    return Case(project, request, result, ModelRegistry(mlflow_url, tmp_path / "a home"), lake, mlflow_folder)


@pytest.fixture
def version(case):
    return case.registry.register(case.project, case.result)


def again(case, **changes):
    """Another training of the project."""
    name = uuid.uuid4().hex
    request = case.request.model_copy(update={"output_url": f"{case.lake}/{name}", **changes})
    return run_training(request.write(f"{case.lake}/{name}/request.json"))


def test_the_run_in_mlflow_holds_parameters_rounds_data_and_origin(case):
    client = case.registry.client
    run = client.get_run(case.result.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["max_depth"] == "3"
    assert run.data.params["window"] == f"{KEYS[0]}..{KEYS[-1]} (4)"
    assert run.data.metrics["holdout_log_loss"] == pytest.approx(case.result.metrics["holdout_log_loss"])
    assert run.data.tags[REQUEST_TAG] == case.request.request_sha256
    assert run.data.tags["updraft.snapshot"] == case.request.snapshot_sha256
    [used] = run.inputs.dataset_inputs
    assert used.dataset.digest == case.request.snapshot_sha256[:36]
    [(name, curve)] = case.result.curve.items()
    points = sorted(client.get_metric_history(run.info.run_id, name), key=lambda point: point.step)
    assert [point.step for point in points] == list(range(1, len(curve) + 1))
    assert [point.value for point in points] == pytest.approx(curve)


def test_a_retry_writes_to_the_same_run(case, tmp_path):
    other = case.request.model_copy(update={"output_url": str(tmp_path / "elsewhere")})
    result = run_training(other.write(f"{tmp_path}/request.json"))
    assert result.mlflow_run_id == case.result.mlflow_run_id
    client = case.registry.client
    experiment = client.get_experiment_by_name(case.project).experiment_id
    assert len(client.search_runs([experiment])) == 1
    [(name, curve)] = result.curve.items()
    assert len(client.get_metric_history(result.mlflow_run_id, name)) == len(curve)


def test_a_training_without_tracking_is_logged_when_it_is_asked_for_again_with_it(case, tmp_path):
    silent = case.request.model_copy(update={"tracking_uri": None, "output_url": str(tmp_path), "seed": 5})
    assert run_training(silent.write(f"{tmp_path}/request.json")).mlflow_run_id is None
    spoken = silent.model_copy(update={"tracking_uri": case.request.tracking_uri})
    result = run_training(spoken.write(f"{tmp_path}/request.json"))
    assert case.registry.client.get_run(result.mlflow_run_id).info.status == "FINISHED"
    assert run_training(f"{tmp_path}/request.json") == result


def test_a_training_that_fails_closes_its_run_as_failed_and_a_retry_opens_it_again(case, tmp_path):
    request = write_request(str(tmp_path), project=case.project, tracking_uri=case.request.tracking_uri, seed=8)
    url = request.write(f"{tmp_path}/request.json")
    part = tmp_path / "labels" / f"{KEYS[0]}.parquet"
    whole = part.read_bytes()
    part.unlink()
    with pytest.raises(DataError):
        run_training(url)
    client = case.registry.client
    runs = client.search_runs(["1", client.get_experiment_by_name(case.project).experiment_id])
    [failed] = [run for run in runs if run.data.tags[REQUEST_TAG] == request.request_sha256]
    assert failed.info.status == "FAILED"
    part.write_bytes(whole)
    assert run_training(url).mlflow_run_id == failed.info.run_id
    assert client.get_run(failed.info.run_id).info.status == "FINISHED"


def test_mlflow_that_does_not_answer_is_named(case, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    nowhere = case.request.model_copy(update={"tracking_uri": "http://127.0.0.1:9", "output_url": str(tmp_path)})
    with pytest.raises(MLflowAway, match=r"MLflow at http://127.0.0.1:9: starting a run failed"):
        run_training(nowhere.write(f"{tmp_path}/request.json"))


def test_what_mlflow_refuses_is_no_reason_to_try_again(case):
    with pytest.raises(TrainingError, match="was refused") as refused:
        case.registry.version(case.project, "4711")
    assert not isinstance(refused.value, Transient)


def test_a_request_has_one_version_however_often_it_is_registered(case, version):
    assert version == "1"
    assert case.registry.register(case.project, case.result) == "1"
    assert case.registry.register(case.project, again(case, seed=2)) == "2"
    assert case.registry.register(case.project, case.result) == "1"


def test_processes_that_register_at_the_same_time_leave_one_version(case):
    def register(_):
        return ModelRegistry(case.registry.tracking_uri, case.registry.home).register(case.project, case.result)

    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(register, range(3))) == {case.registry.find(case.project, case.result.request_sha256)}
    assert len(case.registry.client.search_model_versions(f"name='{case.project}'")) == 1


def test_a_version_says_where_it_comes_from(case):
    version = case.registry.register(case.project, case.result, {"updraft.lane": "refresh"})
    entry = case.registry.version(case.project, version)
    assert entry.run_id == case.result.mlflow_run_id
    assert entry.tags["updraft.lane"] == "refresh"
    assert entry.tags["updraft.model_sha256"] == case.result.model_sha256
    assert entry.tags["updraft.snapshot"] == case.request.snapshot_sha256
    assert case.registry.version_url(case.project, version).endswith(f"/#/models/{case.project}/versions/{version}")
    assert case.result.mlflow_run_id in case.registry.run_url(case.result.mlflow_run_id)


def test_a_registration_that_was_killed_half_way_goes_on(case):
    from mlflow.entities import LoggedModelOutput

    client = case.registry.client
    run = client.get_run(case.result.mlflow_run_id)
    left = client.create_logged_model(run.info.experiment_id, name="model", source_run_id=run.info.run_id)
    client.log_outputs(run.info.run_id, [LoggedModelOutput(left.model_id, 0)])
    version = case.registry.register(case.project, case.result)
    assert case.registry.version(case.project, version).source == f"models:/{left.model_id}"
    assert case.registry.fetch_verified(case.project, version).sha256 == case.result.model_sha256


def test_a_fetched_model_scores_as_the_trained_one(case, version):
    model = case.registry.fetch_verified(case.project, version)
    frame = features_and_labels()[0][KEYS[-1]]
    np.testing.assert_array_equal(model.margin(frame), load_model(case.result.model_url).margin(frame))
    assert model.features_source == SOURCE


def test_a_torch_model_is_signed_fetched_and_refused_when_changed_like_any_other(case):
    pytest.importorskip("torch", reason="PyTorch is not installed: `make torch`")
    result = again(case, trainer="torch", params={"rounds": 2})
    frame = features_and_labels()[0][KEYS[-1]]
    with torch_hidden():  # the side that registers and scores needs none
        version = case.registry.register(case.project, result)
        model = case.registry.fetch_verified(case.project, version)
        np.testing.assert_array_equal(model.margin(frame), load_model(result.model_url).margin(frame))
    file = case.registry.home / "models" / case.project / version / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError):
        case.registry.fetch_verified(case.project, version)


def test_a_fetched_version_needs_no_mlflow_when_its_content_is_known(case, version):
    case.registry.fetch_verified(case.project, version)
    alone = ModelRegistry("http://127.0.0.1:9", case.registry.home)
    assert alone.fetch_verified(case.project, version, case.result.model_sha256).meta["project"] == case.project


def test_a_byte_changed_in_any_file_of_the_local_copy_is_refused(case, version):
    case.registry.fetch_verified(case.project, version)
    folder = case.registry.home / "models" / case.project / version
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["MLmodel", "encoder.json", "features.py", "meta.json", SIGNATURE, "model.ubj"]
    for name in names:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-10] + bytes([content[-10] ^ 1]) + content[-9:])
        with pytest.raises(IntegrityError, match=f"{name}"):
            case.registry.fetch_verified(case.project, version, case.result.model_sha256)
        (folder / name).write_bytes(content)
    case.registry.fetch_verified(case.project, version, case.result.model_sha256)


def test_a_file_added_to_the_local_copy_or_a_lost_signature_is_refused(case, version):
    case.registry.fetch_verified(case.project, version)
    folder = case.registry.home / "models" / case.project / version
    (folder / "extra.py").write_text("")
    with pytest.raises(IntegrityError, match=r"Extra files.*extra.py"):
        case.registry.fetch_verified(case.project, version)
    (folder / "extra.py").unlink()
    (folder / SIGNATURE).unlink()
    with pytest.raises(IntegrityError, match=r"model.sig is missing"):
        case.registry.fetch_verified(case.project, version)


def test_a_model_changed_in_the_artifact_store_never_reaches_this_machine(case, version):
    artifacts = _artifacts(case, version)
    (artifacts / "model.ubj").write_bytes(b"evil")
    with pytest.raises(IntegrityError, match=r"Hash mismatch for 'model.ubj'"):
        case.registry.fetch_verified(case.project, version)
    assert [path.name for path in (case.registry.home / "models" / case.project).iterdir()] == [".lock"]


def test_a_signed_model_put_in_the_place_of_another_is_refused(case, version):
    other = case.registry.register(case.project, again(case, seed=3))
    here, there = _artifacts(case, version), _artifacts(case, other)
    for path in there.iterdir():
        shutil.copy(path, here / path.name)
    with pytest.raises(IntegrityError, match="another model in its place"):
        case.registry.fetch_verified(case.project, version)


def test_a_model_signed_with_another_key_is_refused(case, version, tmp_path):
    artifacts = _artifacts(case, version)
    (artifacts / SIGNATURE).unlink()
    sign(artifacts, tmp_path / "other keys")
    with pytest.raises(IntegrityError, match="key of another deployment"):
        case.registry.fetch_verified(case.project, version)


def test_a_model_folder_that_was_changed_before_registering_is_not_signed(case, tmp_path):
    shutil.copytree(Path(case.result.model_url), tmp_path / "model")
    (tmp_path / "model" / "features.py").write_text("evil")
    with pytest.raises(IntegrityError, match="content has hash"):
        case.registry.register(case.project, case.result.model_copy(update={"model_url": str(tmp_path / "model")}))
    assert case.registry.find(case.project, case.result.request_sha256) is None


def test_a_copy_from_another_life_of_mlflow_is_fetched_again(case, version):
    folder = case.registry.home / "models" / case.project / version
    shutil.copytree(_artifacts(case, case.registry.register(case.project, again(case, seed=4))), folder)
    assert case.registry.fetch_verified(case.project, version).sha256 == case.result.model_sha256


def test_aliases_follow_what_was_decided_and_others_stay(case, version):
    registry = case.registry
    second = registry.register(case.project, again(case, seed=6))
    wanted = {"champion": version, "challenger": second, "previous": None}
    assert registry.reconcile(case.project, wanted) == {"champion": version, "challenger": second}
    assert registry.reconcile(case.project, wanted) == {}
    registry.client.set_registered_model_alias(case.project, "mine", version)
    changes = registry.reconcile(case.project, {"champion": second, "challenger": None, "previous": version})
    assert changes == {"champion": second, "challenger": None, "previous": version}
    assert registry.aliases(case.project) == {"champion": second, "previous": version, "mine": version}


def test_a_project_without_a_model_has_no_aliases(case):
    assert case.registry.aliases("never_trained") == {}
    assert case.registry.reconcile("never_trained", {"champion": None}) == {}


def test_a_refused_model_stays_with_its_reason(case, version):
    case.registry.refuse(case.project, version, "log_loss 0.01 above the champion's")
    entry = case.registry.version(case.project, version)
    assert entry.tags["updraft.refused"] == "log_loss 0.01 above the champion's"


def test_a_page_lies_beside_the_run(case):
    url = case.registry.log_html(case.result.mlflow_run_id, "<h1>card</h1>")
    assert url.endswith("/artifacts/card.html")
    assert [file.path for file in case.registry.client.list_artifacts(case.result.mlflow_run_id)] == ["card.html"]


def test_an_unknown_version_and_a_training_without_a_run_are_named(case):
    with pytest.raises(TrainingError, match=r"reading version 77 of"):
        case.registry.fetch_verified(case.project, "77")
    with pytest.raises(TrainingError, match="run it again with a tracking_uri"):
        case.registry.register(case.project, case.result.model_copy(update={"mlflow_run_id": None}))
    with pytest.raises(TrainingError, match="cannot become a version of 'other'"):
        case.registry.register("other", case.result)


def test_nothing_that_is_fetched_holds_a_pickle(case, version):
    case.registry.fetch_verified(case.project, version)
    folder = case.registry.home / "models" / case.project / version
    for path in folder.iterdir():
        assert path.suffix not in {".pkl", ".pickle", ".joblib"}
        assert not path.read_bytes().startswith(b"\x80")


def test_the_library_is_imported_without_its_heavy_parts():
    code = (
        "import sys, updraft.jobs.run, updraft.registry.mlflow_registry, updraft.evaluation.card\n"
        "heavy = {'mlflow', 'xgboost', 'pandas', 'numpy', 'model_signing', 'matplotlib', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def _artifacts(case, version):
    """The folder of a version in the server's artifact store."""
    model_id = case.registry.version(case.project, version).source.removeprefix("models:/")
    [folder] = case.server.glob(f"artifacts/**/{model_id}/artifacts")
    return folder
