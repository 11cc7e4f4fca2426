"""A version goes from one deployment to another, each with home, keys, lake, store and MLflow of its own, and proves itself there anew."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from tests.support import flights
from tests.support.releases import promoted

from updraft import files
from updraft.control.admission import admit
from updraft.control.bundle import AUDIT, HOLDOUT, MANIFEST, MODEL, write_bundle
from updraft.control.version import read_version
from updraft.errors import InputError, IntegrityError
from updraft.jobs.attested import training_for
from updraft.jobs.run import run_training
from updraft.jobs.tracking import mlflow_client
from updraft.loop.context import Loop
from updraft.loop.decision_words import in_words
from updraft.loop.in_process import interrupted
from updraft.loop.models import RegisteredModels
from updraft.loop.monitor import monitor_partition
from updraft.loop.registration import register
from updraft.loop.score import score_partition
from updraft.loop.train import collect, evaluate, prepare
from updraft.registry.mlflow_registry import ModelRegistry
from updraft.registry.signing import PUBLIC, key_pair
from updraft.store.store import Store

WEEKS = 6
WHY = {"origin": "staging", "by": "ada", "reason": "better in staging"}


class Deployment:
    """The flights in one environment, trained with a recipe that takes a second."""

    def __init__(self, home, database, environment, rounds):
        shutil.copy(database, home / "mlflow.db")
        address = f"sqlite:///{home}/mlflow.db"
        mlflow_client(address).create_experiment("flight_delays", artifact_location=f"file://{home}/artifacts")
        self.rows = flights.ingested(home, WEEKS)
        settings = dataclasses.replace(flights.settings(home), environment=environment, mlflow=address)
        project = flights.flights()
        trainer = project.spec.training.trainers[0].model_copy(
            update={"params": {"max_depth": 3, "eta": 0.2, "rounds": rounds, "early_stopping": rounds}}
        )
        training = project.spec.training.model_copy(update={"trainers": (trainer,)})
        project = project.model_copy(update={"spec": project.spec.model_copy(update={"training": training})})
        self.registry, store = ModelRegistry(address, home), Store.in_memory()
        self.loop = Loop(project, settings, store, RegisteredModels(project.name, self.registry, store))

    def monitored(self, number):
        """The first partitions, published, scored and monitored."""
        for row in self.rows[:number]:
            if self.loop.store.partition_row(self.loop.name, row.key) is None:
                self.loop.store.record_partition(self.loop.name, row)
                score_partition(self.loop, row.key)
                monitor_partition(self.loop, row.key, interrupted)

    def __enter__(self):
        """MLflow's store looks a logged model up where its global address points; behind a server that is the server's own."""
        import mlflow

        mlflow.set_tracking_uri(self.loop.settings.mlflow)
        return self

    def __exit__(self, *raised):
        import mlflow

        mlflow.set_tracking_uri("")

    def trained(self, run):
        """A training, registered; its version."""
        url = prepare(self.loop, run, None)
        with training_for(self.loop.training(run).key):
            run_training(url)
        collect(self.loop, run)
        evaluate(self.loop, run)
        with self:
            version, release = register(self.loop, run, self.registry)
        assert release is not None
        return version


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """MLflow's, empty: to make one takes longer than to copy it."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow_client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="module")
def staging(tmp_path_factory, database):
    made = Deployment(tmp_path_factory.mktemp("staging"), database, "staging", 20)
    made.monitored(4)
    assert made.trained("manual") == "1"
    return made


@pytest.fixture(scope="module")
def bundle(staging, tmp_path_factory):
    return write_bundle(staging.loop, "1", staging.registry, f"file://{tmp_path_factory.mktemp('bundles')}")


@pytest.fixture(scope="module")
def production(staging, tmp_path_factory, database):
    """Another deployment with a champion of its own, which trusts the key of staging."""
    made = Deployment(tmp_path_factory.mktemp("production"), database, "production", 24)
    made.monitored(4)
    promoted(made.loop.store, f"flight_delays-v{made.trained('first')}", key=made.rows[3].key)
    trust(made, staging)
    return made


def trust(made, other):
    folder = made.loop.settings.keys / "environments" / "staging"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(key_pair(other.loop.settings.keys)[1], folder / PUBLIC)


def test_a_bundle_that_was_touched_is_refused(production, bundle, tmp_path):
    for number, name in enumerate((HOLDOUT, MANIFEST, AUDIT, f"{MODEL}/meta.json", f"{MODEL}/model.sig")):
        folder = tmp_path / str(number)
        shutil.copytree(files.local_path(bundle), folder)
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        with pytest.raises(IntegrityError, match=name.rpartition("/")[2]):
            admit(production.loop, production.registry, f"file://{folder}", **WHY)
    assert production.loop.store.versions("flight_delays") == ["1"]


def test_a_bundle_of_a_key_that_nobody_trusts_is_refused(production, staging, bundle, tmp_path):
    folder = production.loop.settings.keys / "environments" / "staging"
    shutil.rmtree(folder)
    try:
        with pytest.raises(InputError, match=r"environments/staging/signing.pub.pem is missing"):
            admit(production.loop, production.registry, bundle, **WHY)
        folder.mkdir()
        shutil.copy(key_pair(tmp_path / "stranger")[1], folder / PUBLIC)
        with pytest.raises(IntegrityError, match="signed with the key of another deployment"):
            admit(production.loop, production.registry, bundle, **WHY)
    finally:
        trust(production, staging)


def test_what_would_mean_something_else_here_is_refused_by_its_name(production, bundle, tmp_path):
    loop = production.loop
    data = loop.spec.data.model_copy(
        update={"label": loop.spec.data.label.model_copy(update={"expr": "dep_delay > 5"})}
    )
    spec = loop.spec.model_copy(update={"data": data, "release": loop.spec.release.model_copy(update={"margin": 1.0})})
    other = dataclasses.replace(loop, project=loop.project.model_copy(update={"spec": spec}))
    with pytest.raises(
        InputError, match=r"flight_delays: data.label here is not what version 1 of staging was proved with"
    ):
        admit(other, production.registry, bundle, **WHY)


def test_it_needs_something_to_be_held_against(production, bundle):
    empty = dataclasses.replace(production.loop, store=Store.in_memory())
    with pytest.raises(InputError, match="nothing serves here"):
        admit(empty, production.registry, bundle, **WHY)


def test_what_has_learnt_from_the_future_of_another_deployment_waits(production, staging, tmp_path):
    staging.monitored(5)
    later = write_bundle(staging.loop, staging.trained("later"), staging.registry, f"file://{tmp_path}")
    with pytest.raises(InputError, match="it would be judged on what it has seen"):
        admit(production.loop, production.registry, later, **WHY)


def test_a_version_enters_as_a_change_with_its_proof_and_a_shadow_of_its_own(production, staging, bundle):
    loop = production.loop
    with production:
        admitted = admit(loop, production.registry, bundle, **WHY)
    assert (admitted.version, admitted.release) == ("2", "flight_delays-v2")
    release = loop.store.release(admitted.release)
    assert (release.lane, release.state, release.against) == ("change", "shadow", "1")
    assert release.opened_at == production.rows[3].key

    # It is the same model, signed by this deployment now.
    own = {training.version: training.result["model_sha256"] for training in staging.loop.store.trainings(loop.name)}
    shutil.rmtree(production.registry.home / "models")
    assert production.registry.fetch_verified(loop.name, "2", own["1"]).sha256 == own["1"]
    run = loop.store.training_of(loop.name, "2").id
    assert loop.training(run).request.request_sha256 == staging.loop.training("manual").request.request_sha256
    assert loop.training(run).evaluation["metrics"] == staging.loop.training("manual").evaluation["metrics"]

    # Where it comes from is a decision, and stands with what was decided there.
    [carried] = loop.store.decisions(loop.name, kinds=("carried",))
    told = json.loads(files.read_bytes(loop.lake.of_origin(run, AUDIT)))
    of_origin = {decision.seq: decision.sha256 for decision in staging.loop.store.decisions(loop.name)}
    assert {decision["seq"]: decision["sha256"] for decision in told["decisions"]}.items() <= of_origin.items()
    assert (carried.body["origin_decision_sha256"], carried.body["by"]) == (told["decisions"][-1]["sha256"], "ada")
    assert in_words(carried) == "version 1 of staging enters as a change (by ada): better in staging"
    view = read_version(loop, "2")
    assert "staging version 1: better in staging" in view.started_by
    assert any(decision.words == in_words(carried) for decision in view.decisions)

    # Entered once, whatever is repeated.
    assert admit(loop, production.registry, bundle, **WHY) == admitted
    assert loop.store.versions(loop.name) == ["1", "2"]

    # It scores in shadow from the next partition on, and its evidence is of this deployment.
    production.monitored(6)
    assert loop.store.predictions(loop.name, production.rows[5].key)["challenger"].version == "2"
    evidence = loop.store.evidence(loop.name, admitted.release)
    assert evidence
    assert all(row.key > production.rows[3].key for row in evidence)
    assert loop.store.serving(loop.name).champion == "1"


def test_a_version_that_is_none_is_told_with_those_that_are(staging, tmp_path):
    with pytest.raises(InputError, match="there is no version '7'"):
        write_bundle(staging.loop, "7", staging.registry, f"file://{tmp_path}")


def test_a_version_of_a_recipe_that_the_folder_says_no_more_is_promoted_nowhere(staging, tmp_path):
    loop = staging.loop
    training = loop.spec.training.model_copy(update={"seed": 2})
    spec = loop.spec.model_copy(update={"training": training})
    other = dataclasses.replace(loop, project=loop.project.model_copy(update={"spec": spec}))
    with pytest.raises(InputError, match="have changed since version 1 was trained"):
        write_bundle(other, "1", staging.registry, f"file://{tmp_path}")
