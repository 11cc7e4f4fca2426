"""A training's folder in the lake against whoever can write there, as every training pod can: nothing of it is believed."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest
from tests.support import flights
from tests.support.releases import promoted

from updraft import files
from updraft.data.columns import LABEL
from updraft.errors import IntegrityError, TrainingError
from updraft.jobs.attested import seal, training_for
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.run import _is_done, checkpoint_of, run_training
from updraft.jobs.usage import last_usage
from updraft.loop.monitor import measure
from updraft.loop.registration import register
from updraft.loop.score import score_partition
from updraft.loop.train import collect, evaluate, prepare, train_here
from updraft.store.records import EpisodeRow
from updraft.training.learning import Progress
from updraft.training.model import load_model

WEEKS = 6
RUN = "by-hand"


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    home = tmp_path_factory.mktemp("flights")
    return home, flights.ingested(home, WEEKS)


@pytest.fixture
def loop(ingested, tmp_path):
    """Six weeks of flights in a lake of this test's own, nothing trained yet; a recipe that takes a second."""
    home, rows = ingested
    project = flights.flights()
    training = project.spec.training
    params = {"max_depth": 2, "rounds": 3, "early_stopping": 3}
    trainer = training.trainers[0].model_copy(update={"params": params})
    spec = project.spec.model_copy(update={"training": training.model_copy(update={"trainers": (trainer,)})})
    made, _ = flights.fresh_loop(tmp_path, project.model_copy(update={"spec": spec}))
    for row in rows:
        moved = {}
        for name, sha256 in (("url", row.sha256), ("labels_url", row.labels_sha256)):
            if (url := getattr(row, name)) is not None:
                moved[name] = url.replace(str(home), str(tmp_path))
                files.write_bytes(moved[name], files.read_verified(url, sha256))
        made.store.record_partition(made.name, dataclasses.replace(row, **moved))
    return made


@pytest.fixture
def marker(tmp_path):
    """A file that the planted code makes when it is executed."""
    return tmp_path / "executed"


def planted(marker) -> bytes:
    return f"open({str(marker)!r}, 'w').close()\ndef features(rows):\n    return rows[['distance']]\n".encode()


def trained_elsewhere(loop, key=None) -> str:
    """A training that ran where the request said, such as in a pod, and has not been collected; its folder."""
    url = prepare(loop, RUN, key)
    with training_for(loop.training(RUN).key):  # as the pod's environment says
        run_training(url)
    return loop.training(RUN).folder.url


def by_the_pod(loop, where: str, **changes) -> None:
    """Replace parts of a result as the run's own pod can, which knows the run's secret."""
    result = TrainingResult.read(f"{where}/result.json").model_copy(update={**changes, "seal": None})
    result.sealed(loop.training(RUN).key).write(f"{where}/result.json")


def plant(loop, where: str, source: bytes) -> None:
    """Replace features.py, the hashes of the result and the request, so that all of them fit together."""
    request = TrainingRequest.read(f"{where}/request.json")
    request = request.model_copy(update={"features_sha256": files.sha256(source)})
    model = load_model(f"{where}/model")
    meta = {**model.meta, "features_sha256": request.features_sha256, "request_sha256": request.request_sha256}
    sha256 = dataclasses.replace(model, features_source=source, meta=meta).save(f"{where}/model")
    request.write(f"{where}/request.json")
    changed = {"model_sha256": sha256, "request_sha256": request.request_sha256}
    by_the_pod(loop, where, **changed, features_sha256=request.features_sha256)


def test_a_folder_that_nobody_touched_is_taken(loop):
    where = trained_elsewhere(loop)
    result = collect(loop, RUN)
    assert result.model_url == f"{where}/model"
    assert evaluate(loop, RUN).as_dict() == loop.training(RUN).evaluation
    pd.testing.assert_frame_equal(
        files.read_parquet(*loop.training(RUN).proof), files.read_parquet(f"{where}/holdout.parquet")
    )


def test_model_result_and_request_replaced_together_are_refused_and_nothing_is_executed(loop, marker):
    plant(loop, trained_elsewhere(loop), planted(marker))
    with pytest.raises((IntegrityError, TrainingError)):
        collect(loop, RUN)
    assert loop.store.run_record(loop.name, RUN, "result") is None
    assert not marker.exists()


def test_planted_feature_code_under_the_honest_request_hash_is_refused(loop, marker):
    where = trained_elsewhere(loop)
    model = load_model(f"{where}/model")
    sha256 = dataclasses.replace(model, features_source=planted(marker)).save(f"{where}/model")
    by_the_pod(loop, where, model_sha256=sha256)
    with pytest.raises(IntegrityError, match=r"features.py is not the feature code of the request"):
        collect(loop, RUN)
    assert not marker.exists()


def test_a_model_replaced_after_it_was_collected_is_not_signed(loop, marker):
    where = trained_elsewhere(loop)
    collect(loop, RUN)
    evaluate(loop, RUN)
    plant(loop, where, planted(marker))
    with pytest.raises(IntegrityError):
        register(loop, RUN, None)  # nothing of the registry is reached
    assert not marker.exists()


def test_a_result_that_points_elsewhere_is_refused(loop, tmp_path):
    where = trained_elsewhere(loop)
    by_the_pod(loop, where, model_url=f"file://{tmp_path}/other/model")
    with pytest.raises(IntegrityError, match="model_url: not what the training was asked for"):
        collect(loop, RUN)


def test_forged_gates_and_plans_in_the_lake_change_nothing(loop):
    where = trained_elsewhere(loop)
    collect(loop, RUN)
    evaluate(loop, RUN)
    honest, plan = loop.training(RUN).evaluation, loop.training(RUN).plan
    for name in ("evaluation.json", "plan.json"):
        files.write_json(f"{where}/{name}", {"passed": True, "reasons": [], "lane": "refresh", "holdout": []})
    assert loop.training(RUN).evaluation == honest
    assert loop.training(RUN).plan == plan


def test_a_proof_that_was_changed_after_it_was_collected_is_refused(loop):
    where = trained_elsewhere(loop)
    result = collect(loop, RUN)
    proof = pd.read_parquet(files.local_path(result.holdout_predictions_url))
    files.write_parquet(f"{where}/holdout.parquet", proof.assign(margin=0.0))
    with pytest.raises(IntegrityError, match="was changed after it was written"):
        evaluate(loop, RUN)


def test_what_another_runs_pod_wrote_there_counts_as_not_there(loop):
    url = prepare(loop, RUN, None)
    with training_for("another run's secret"):
        run_training(url)
    assert collect(loop, RUN) is None
    assert "without this run's seal" in loop.training(RUN).nothing_left
    honest = train_here(loop, RUN)  # nor is it taken in place of the training
    own = TrainingResult.read_sealed(f"{loop.training(RUN).folder.url}/result.json", loop.training(RUN).key)
    assert own.model_copy(update={"seal": None}) == honest


@pytest.mark.parametrize("left", [b"{}", b"[]", b"no json", b"[" * 100_000, b'{"seal": 1}', b"\xff"])
def test_what_is_no_result_at_all_counts_as_not_there(loop, left):
    prepare(loop, RUN, None)
    result = f"{loop.training(RUN).folder.url}/result.json"
    files.write_bytes(result, left)
    assert collect(loop, RUN) is None
    train_here(loop, RUN)
    assert TrainingResult.read_sealed(result, loop.training(RUN).key) is not None


def test_a_result_of_a_trainer_that_is_older_or_newer_than_this_version_keeps_its_seal(loop):
    """The seal is held against what was written, not against what this version makes of it."""
    url = f"{trained_elsewhere(loop)}/result.json"
    told = files.read_json(url)
    del told["seal"], told["gpu_percent"]
    files.write_json(url, {**told, "seal": seal(loop.training(RUN).key, told)})
    assert collect(loop, RUN) is not None


def test_a_group_does_not_take_a_strangers_result_for_its_own(loop):
    request = TrainingRequest.read(prepare(loop, RUN, None))
    with training_for("another run's secret"):
        run_training(f"{request.output_url}/request.json")
    with training_for(loop.training(RUN).key):
        assert not _is_done(request), "the workers that are not the first would go, and the first wait for them"
        run_training(f"{request.output_url}/request.json")
        assert _is_done(request)


@pytest.mark.parametrize(
    "told",
    [
        b'{"peak_memory_mb": "much"}', b'{"peak_memory_mb": NaN}', b'{"peak_memory_mb": Infinity}', b'{"seconds": -1}',
        b'{"cpu_seconds": null}', b"[" * 100_000, b"[]", b"{", b'{"peak_memory_mb": {}}',
    ],
)  # fmt: skip
def test_a_note_of_what_a_training_used_that_is_none_tells_nothing(tmp_path, told):
    files.write_bytes(f"{tmp_path}/usage.json", told)
    assert last_usage(f"{tmp_path}/usage.json") is None


def test_a_checkpoint_that_somebody_else_kept_is_not_gone_on_from(loop, caplog):
    request = TrainingRequest.read(prepare(loop, RUN, None))
    with training_for("another run's secret"):
        theirs = checkpoint_of(request)
        theirs.save("proof", b"planted", Progress(rounds=3, best=0.0, best_rounds=3, curve=(0.0,) * 3, done=True))
    own = checkpoint_of(request, key=loop.training(RUN).key)
    assert theirs.load("proof") is not None
    assert own.load("proof") is None
    assert "was kept by somebody else" in caplog.text
    own.save("proof", b"the proof's own", Progress(rounds=3, best=0.0, best_rounds=3, curve=(0.0,) * 3, done=True))
    assert own.load("proof") is not None
    note = f"{request.output_url}/checkpoint/proof.json"
    files.write_bytes(f"{request.output_url}/checkpoint/release.json", files.read_bytes(note))
    assert own.load("release") is None, "a release would end where the proof did, and never see the newest partitions"
    for damaged in (b"[]", b"no json", b'{"binding": 1}', b"[" * 100_000):
        files.write_bytes(f"{request.output_url}/checkpoint/proof.json", damaged)
        assert own.load("proof") is None


@pytest.mark.parametrize("forged", ["labels", "rows", "scores", "twice", "column"])
def test_a_proof_on_other_labels_or_rows_than_the_training_was_given_proves_nothing(loop, forged):
    where = trained_elsewhere(loop)
    proof = pd.read_parquet(files.local_path(f"{where}/holdout.parquet"))
    changed = {
        "labels": lambda: proof.assign(**{LABEL: (proof["margin"] > 0).astype(float)}),  # a model that is always right
        "rows": lambda: proof[proof[LABEL] == 0],
        "scores": lambda: proof.assign(margin=float("inf")),
        "twice": lambda: pd.concat([proof, proof.assign(**{LABEL: 1 - proof[LABEL]})], ignore_index=True),
        "column": lambda: proof.drop(columns="margin"),
    }[forged]()
    sha256 = files.write_parquet(f"{where}/holdout.parquet", changed)
    by_the_pod(loop, where, holdout_predictions_sha256=sha256)
    collect(loop, RUN)
    with pytest.raises(IntegrityError, match=r"not those of the snapshot|is no proof"):
        evaluate(loop, RUN)


def test_a_request_that_was_changed_in_the_lake_is_not_what_is_trained_here(loop):
    url = prepare(loop, RUN, None)
    asked = TrainingRequest.read(url)
    asked.model_copy(update={"tracking_uri": "http://127.0.0.1:1", "params": {"rounds": 1}}).write(url)
    result = train_here(loop, RUN)
    assert result.request_sha256 == loop.training(RUN).request.request_sha256 == asked.request_sha256
    assert TrainingRequest.read(prepare(loop, RUN, None)) == asked  # and preparing it again puts it right


def test_feature_code_is_executed_from_the_stores_copy_or_not_at_all(loop, marker, tmp_path):
    trained_elsewhere(loop)
    model = load_model(collect(loop, RUN).model_url)
    changed = tmp_path / "projects" / loop.name
    changed.mkdir(parents=True)
    for path in loop.project.folder.iterdir():
        if path.is_file():
            (changed / path.name).write_bytes(path.read_bytes() + (b"\n# changed\n" if path.suffix == ".py" else b""))
    later = dataclasses.replace(loop, project=loop.project.model_copy(update={"folder": changed}))
    code = later.features_of(model)
    assert (code.sha256, code.source) == (loop.features.sha256, loop.features.source)
    with pytest.raises(IntegrityError, match="it is not executed"):
        later.features_of(dataclasses.replace(model, features_source=planted(marker)))
    assert not marker.exists()


def test_a_note_that_this_deployment_did_not_write_is_worked_out_again(loop):
    key = loop.store.partitions(loop.name)[-1].key
    url, sha256 = loop.feature_file(key)
    forged = files.write_parquet(url, loop.feature_frame(key).assign(distance=1.0))
    with pytest.raises(IntegrityError):
        loop.feature_frame(key)
    files.write_json(f"{url}.sha256", {"content": forged, "seal": "0" * 64})
    assert loop.feature_file(key) == (url, sha256)
    assert loop.feature_frame(key)["distance"].nunique() > 1
    note = files.read_json(f"{url}.sha256")
    files.write_json(f"{url}.sha256", {**note, "content": forged})  # an honest seal of other content
    assert loop.feature_file(key) == (url, sha256)


def _scored(loop):
    """The newest partition scored by a model of what came before; what `measure` would look at."""
    from updraft.loop.train import enter

    rows = loop.store.partitions(loop.name)
    earlier = rows[-2].key
    trained_elsewhere(loop, earlier)
    result = collect(loop, RUN)
    models = loop.models
    version = models.add(load_model(result.model_url, result.model_sha256))
    gates = {"passed": True, "reasons": ["first"]}
    release = enter(loop, RUN, loop.training(RUN).plan, version, gates, {"features_sha256": result.features_sha256})
    promoted(loop.store, release, key=earlier, reason="first")
    return rows[-1].key


def _spoil(url: str) -> None:
    frame = pd.read_parquet(files.local_path(url))
    column = frame.select_dtypes("number").columns[-1]
    files.write_parquet(url, frame.assign(**{column: frame[column] * 0 + 1}))


@pytest.mark.parametrize("what", ["partition", "features", "labels", "predictions"])
def test_a_file_of_the_lake_that_was_changed_is_refused_when_it_is_read(loop, what):
    from updraft.loop.context import label_file
    from updraft.loop.labelled import _joined

    key = _scored(loop)
    if what == "partition":
        _spoil(loop.published(key).url)
    if what == "features":
        _spoil(loop.feature_file(key)[0])
    if what in ("partition", "features"):
        read = {"partition": lambda: loop.lookup(key, ("origin",)), "features": lambda: score_partition(loop, key)}
        with pytest.raises(IntegrityError, match="was changed after it was written"):
            read[what]()
        return
    [row] = score_partition(loop, key)
    label_file.cache_clear(), _joined.cache_clear()
    _spoil(row.url if what == "predictions" else loop.published(key).labels_url)
    with pytest.raises(IntegrityError, match="was changed after it was written"):
        measure(loop, key)


def test_the_form_reaches_no_episode_of_another_project(loop):
    other = EpisodeRow("other-k-age", "other", "k", "age", "retrain", "due", {"words": "old"}, None, None)
    loop.store.open_episode(other)
    with pytest.raises(TrainingError, match="no episode 'other-k-age'"):
        prepare(loop, RUN, None, episode=other.id)
    loop.store.start_episode(loop.name, other.id)
    loop.store.close_episode(loop.name, other.id, key="k", outcome="stolen")
    assert loop.store.episodes("other") == [other]


def test_what_the_store_keeps_of_a_run_is_json_that_reads_back(loop):
    prepare(loop, RUN, None)
    for kind in ("plan", "request"):
        assert json.loads(json.dumps(loop.store.run_record(loop.name, RUN, kind)))
