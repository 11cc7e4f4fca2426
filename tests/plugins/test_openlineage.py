"""One partition's way from its source to its predictions, as each step tells it, and as a server of OpenLineage is sent it by Airflow's provider."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from uuid import uuid4

import pytest
from tests.support.grades import Grades

from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels, play, settle
from updraft.loop.ingest import ingest
from updraft.loop.train import enter, prepare, train_here
from updraft.store.store import Store
from updraft.training.model import load_model

RUN, VERSION = "by_hand", "90"
PASSED = {"passed": True, "reasons": [], "against": "base rate", "metrics": {}}


def key(day: int) -> str:
    return f"2024-01-{day + 1:02}T0000"


LEARNT, SCORED = key(4), key(5)
"""The tick of the training, and the partition that its version scores."""


class Events(BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    kept: list[dict] = []  # noqa: RUF012 - the server makes a handler for each request

    def do_POST(self) -> None:
        self.kept.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Events)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def loop(postgres_server, tmp_path_factory):
    """Five days of grades; the fifth is scored by a version that was trained of those before."""
    from updraft_airflow import deployment

    made = Grades(tmp_path_factory.mktemp("grades"), 5)
    store, models = postgres_server.new_store(), KeptModels()
    patch = pytest.MonkeyPatch()
    patch.setenv("UPDRAFT_HOME", str(made.settings.home))
    patch.setenv("UPDRAFT_PROJECTS", str(made.settings.projects))
    patch.setenv("UPDRAFT_STORE", store)
    cached = (deployment.settings, deployment._store, deployment._registry)
    for function in cached:
        function.cache_clear()
    loop = Loop(made.project, deployment.settings(), Store.open(store), models)
    for day in range(1, 5):
        ingest(loop, key(day))
    prepare(loop, RUN, LEARNT)
    result = train_here(loop, RUN)
    models.versions[VERSION] = replace(
        load_model(loop.training(RUN).folder.model, result.model_sha256), features_source=None
    )
    kept = {"features_sha256": result.features_sha256, "model_sha256": result.model_sha256}
    enter(loop, RUN, loop.training(RUN).plan, VERSION, PASSED, kept)
    settle(loop, models)
    play(loop, models, ingest(loop, SCORED))
    yield loop
    loop.store.close()
    deployment.store().close()
    patch.undo()
    for function in cached:
        function.cache_clear()
    postgres_server.drop_database(store)


@pytest.fixture(scope="module")
def tasks(loop):
    """The tasks that have ended well, by name: the operator and the context of its run."""
    from updraft_airflow.operators.ingest import PublishPartition
    from updraft_airflow.operators.loop import ScorePartition
    from updraft_airflow.operators.train import RegisterModel, SnapshotData, TrainModel

    def task(kind, stage, partition=None):
        context = {"partition_key": partition, "dag_run": SimpleNamespace(run_id=RUN), "params": {}}
        context["ti"] = SimpleNamespace(map_index=-1)
        name = f"{loop.name}.{stage}.{kind.__name__}{f'.{partition}' if stage == 'ingest' else ''}"
        return name, (kind(task_id=kind.__name__, project=loop.name), context)

    return dict(
        [
            *(task(PublishPartition, "ingest", row.key) for row in loop.store.partitions(loop.name)),
            *(task(kind, "train") for kind in (SnapshotData, TrainModel, RegisterModel)),
            task(ScorePartition, "score", SCORED),
        ]
    )


@pytest.fixture(scope="module")
def flows(loop, tasks):
    return {name: operator.flow(loop, context) for name, (operator, context) in tasks.items()}


def identity(dataset):
    return dataset.namespace, dataset.name, dataset.version


def maker(flows, dataset):
    """Name of the task that a version of a dataset came out of, and its flow."""
    [made] = [
        (name, flow) for name, flow in flows.items() if identity(dataset) in {identity(out) for out in flow.outputs}
    ]
    return made


def named(datasets, folder):
    return [dataset for dataset in datasets if dataset.name.endswith(folder)]


def test_the_way_of_a_partition_from_its_source_to_its_predictions_can_be_read(loop, flows):
    scored = flows["grades.score.ScorePartition"]
    prediction = loop.store.predictions(loop.name, SCORED)["champion"]
    assert prediction.version == VERSION
    [output] = named(scored.outputs, "/predictions/champion")
    assert output.version == f"{SCORED}@{prediction.sha256}"
    [features] = named(scored.inputs, "/features")
    task, ingested = maker(flows, features)
    assert task == f"grades.ingest.PublishPartition.{SCORED}"
    raw = loop.store.partition(loop.name, SCORED).checks["raw"]["exams"]
    [source] = ingested.inputs
    assert identity(source) == ("file", f"{loop.settings.home}/lake/grades/raw/exams", f"{SCORED}@{raw}")
    [rows] = named(ingested.outputs, "/partitions")
    assert rows.version == f"{SCORED}@{loop.published(SCORED).sha256}"


def test_the_version_leads_back_to_the_partitions_that_it_learnt_from(loop, flows):
    scored = flows["grades.score.ScorePartition"]
    [registered] = [dataset for dataset in scored.inputs if dataset.version == VERSION]
    assert identity(registered) == ("mlflow", "grades", VERSION)
    [model] = maker(flows, registered)[1].inputs
    assert model.version == loop.training(RUN).result.model_sha256
    [snapshot] = maker(flows, model)[1].inputs
    assert snapshot.version == loop.training(RUN).request.snapshot_sha256
    learnt = named(maker(flows, snapshot)[1].inputs, "/features")
    keys = [features.version.partition("@")[0] for features in learnt]
    assert keys == sorted(loop.training(RUN).plan.window)
    assert [maker(flows, features)[0] for features in learnt] == [f"grades.ingest.PublishPartition.{at}" for at in keys]
    labels = named(maker(flows, snapshot)[1].inputs, "/labels")
    assert labels
    assert all(maker(flows, file)[0].startswith("grades.ingest.PublishPartition.") for file in labels)


def test_columns_say_what_they_are_and_where_they_come_from(loop, flows):
    scored, ingested = flows["grades.score.ScorePartition"], flows[f"grades.ingest.PublishPartition.{SCORED}"]
    [source], [rows], [features] = (
        ingested.inputs,
        named(ingested.outputs, "/partitions"),
        named(ingested.outputs, "/features"),
    )
    assert rows.columns["x"] == "double"
    assert "grade" not in rows.columns, "an outcome is in no published partition"
    assert rows.same_as["x"] == source.column("x")
    assert {"x", "place"} <= {column.name for column in features.made_of}
    [predictions] = named(scored.outputs, "/predictions/champion")
    assert {column.name for column in predictions.made_of} == {"x", "place"}
    assert (predictions.rows, features.rows) == (loop.published(SCORED).rows,) * 2


def test_airflows_provider_sends_it(loop, tasks, flows, url):
    reason = "needs apache-airflow-providers-openlineage, which is not among the pins"
    base = pytest.importorskip("airflow.providers.openlineage.extractors.base", reason=reason)
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.http import HttpConfig, HttpTransport

    adapter = OpenLineageAdapter(OpenLineageClient(transport=HttpTransport(HttpConfig(url=url))))
    for name, (operator, context) in tasks.items():
        ended = SimpleNamespace(get_template_context=lambda context=context: context)
        lineage = base.DefaultExtractor(operator).extract_on_complete(ended)
        assert lineage is not None, "the provider logs what was raised"
        adapter.complete_task(str(uuid4()), name, datetime.now(UTC).isoformat(), lineage, None, None, None, None, None)
    sent = {event["job"]["name"]: event for event in Events.kept}
    assert set(sent) == set(tasks)

    def told(dataset):
        facets = dataset["facets"]
        columns = {column["name"]: column["type"] for column in facets.get("schema", {}).get("fields", ())}
        lineage = facets.get("columnLineage", {})
        same_as = {
            name: tuple(origin["inputFields"][0][part] for part in ("namespace", "name", "field"))
            for name, origin in lineage.get("fields", {}).items()
        }
        made_of = {
            tuple(column[part] for part in ("namespace", "name", "field")) for column in lineage.get("dataset", ())
        }
        version = facets["version"]["datasetVersion"]
        return dataset["namespace"], dataset["name"], version, columns, same_as, made_of

    def meant(dataset):
        same_as = {name: (column.namespace, column.dataset, column.name) for name, column in dataset.same_as.items()}
        made_of = {(column.namespace, column.dataset, column.name) for column in dataset.made_of}
        return *identity(dataset), dict(dataset.columns), same_as, made_of

    for name, flow in flows.items():
        assert [told(dataset) for dataset in sent[name]["inputs"]] == [meant(dataset) for dataset in flow.inputs]
        assert [told(dataset) for dataset in sent[name]["outputs"]] == [meant(dataset) for dataset in flow.outputs]
    [predictions] = sent["grades.score.ScorePartition"]["outputs"][:1]
    assert predictions["outputFacets"]["outputStatistics"]["rowCount"] == loop.published(SCORED).rows


def test_a_failed_task_claims_no_output(tasks):
    assert [operator.get_openlineage_facets_on_failure(None) for operator, _ in tasks.values()] == [None] * len(tasks)
