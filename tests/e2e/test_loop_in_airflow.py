"""The loop in a real Airflow: all the way round, disturbed on the way, cleared afterwards; always the same decisions."""

from __future__ import annotations

import shutil
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.made_project import MadeProject
from tests.support.replay import PARTITIONS, client, outcome, replay

from updraft.alerts.outbox import recent
from updraft.backtest.history import history
from updraft.backtest.policies import Policy
from updraft.backtest.run import play_policy
from updraft.loop.unpublished import find_unpublished
from updraft.replay.run import Replay
from updraft.settings import Settings
from updraft.spec.load import load_project
from updraft.store.store import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800, func_only=True)]


def test_the_loop_goes_all_the_way_round(calm):
    told, (losses, decisions, rows, champion, _) = calm
    assert [state for _, state, _ in rows] == ["published"] * PARTITIONS
    kinds = [kind for _, kind, *_ in decisions]
    assert kinds.count("promote") >= 2
    assert "recalibrate" in kinds
    assert "diagnose" in kinds
    assert len(losses) >= PARTITIONS - 3
    assert champion is not None
    assert any("promoted version 1" in words for words in told)


def test_the_change_is_proved_in_shadow_approved_by_the_replay_and_promoted(calm):
    _, (_, decisions, _, champion, _) = calm
    verdicts = {subject: version for _, kind, subject, version, _ in decisions if kind == "verdict"}
    approvals = {subject for _, kind, subject, *_ in decisions if kind == "approval"}
    promoted = {subject for _, kind, subject, *_ in decisions if kind == "promote"}
    assert verdicts, decisions
    assert set(verdicts) == approvals
    assert approvals <= promoted
    assert int(champion) >= max(int(version) for version in verdicts.values())  # itself, or a refresh by its recipe


def test_the_replays_losses_equal_the_backtests(stack, projects, calm, tmp_path):
    """Until the change is promoted, which no backtest plays; a refreshed model's are among them."""
    project = load_project(projects / "calm")
    own = Settings(
        home=tmp_path, projects=projects, lake=f"file://{tmp_path / 'lake'}", store="", mlflow="", airflow=""
    )
    played = play_policy(
        project, own, Policy("own", project.spec), history(project, own, PARTITIONS, lambda _: None).rows
    )
    _, (losses, decisions, *_) = calm
    change = {subject for _, kind, subject, *_ in decisions if kind == "verdict"}
    [until] = [key for key, kind, subject, *_ in decisions if kind == "promote" and subject in change]
    replayed = {key: (loss, version) for (key, _, role), (loss, _, version) in losses.items() if role == "champion"}
    early = {key: loss for key, loss in zip(played.keys, played.losses, strict=True) if key <= until}
    assert {key: replayed[key][0] for key in early} == early
    assert len({replayed[key][1] for key in early}) > 1, "no refreshed model served in time"


def test_clearing_any_task_changes_nothing(stack, calm):
    before = calm[1]
    api = client(stack)
    dags = [f"calm.{stage}" for stage in ("ingest", "score", "monitor", "watch", "train", "release")]
    runs = api.call("POST", "/dags/~/dagRuns/list", {"dag_ids": dags, "page_limit": 200})["dag_runs"]
    done = [(run["dag_id"], run["dag_run_id"]) for run in runs if run["state"] == "success"]
    assert {dag for dag, _ in done} == set(dags)
    assert len(done) > 3 * PARTITIONS
    for dag, run in done:  # every run that there is, at once
        api.call("POST", f"/dags/{dag}/dagRuns/{run}/clear", {"dry_run": False, "only_failed": False})
    _quiet(stack, "calm", api)
    assert_same(outcome(stack, "calm"), before)
    cleared = {run for dag, run in done if dag == "calm.watch"}
    assert cleared
    _let_go_of_the_watch_that_waits(api, cleared)
    _quiet(stack, "calm", api)
    assert_same(outcome(stack, "calm"), before)


def _let_go_of_the_watch_that_waits(api, cleared, seconds=120):
    """One `watch` runs at a time: end the one that waits, until one that was cleared takes its place and waits."""
    deadline = time.monotonic() + seconds
    while not cleared & (waiting := {task["dag_run_id"] for task in api.tasks(["calm.watch"], ["deferred"])}):
        assert time.monotonic() < deadline, api.open_runs(["calm.watch"])
        for run in waiting:
            api.call("PATCH", f"/dags/calm.watch/dagRuns/{run}", {"state": "success"})
        time.sleep(1.0)


def assert_same(found, expected):
    """Losses and decisions are equal; says which are not."""
    differing = [
        (key, found[0].get(key), expected[0].get(key))
        for key in sorted({*found[0], *expected[0]})
        if found[0].get(key) != expected[0].get(key)
    ]
    differing += [("only now", one) for one in found[1] if one not in expected[1]]
    differing += [("no more", one) for one in expected[1] if one not in found[1]]
    assert not differing, "\n".join(map(str, differing))
    assert found == expected


def _quiet(stack, name, api, seconds=480):
    """Wait until nothing of a project is active for two seconds."""
    deadline, since = time.monotonic() + seconds, None
    active = ["scheduled", "queued", "running", "restarting", "up_for_retry"]
    dags = [f"{name}.{stage}" for stage in ("ingest", "score", "monitor", "train", "release")]
    while True:
        queued = [run for run in api.open_runs(dags) if run["state"] == "queued"]  # `watch` has one run at a time
        if queued or api.tasks(dags, active):
            since = None
        elif since is None:
            since = time.monotonic()
        elif time.monotonic() - since > 2:
            return
        assert time.monotonic() < deadline, api.open_runs(dags)
        time.sleep(0.3)


def test_killing_every_process_on_the_way_changes_no_loss_and_no_decision(stack, projects, calm):
    faults = ["scheduler", "triggerer", "task", "mlflow", "postgres"]
    done: list[str] = []

    def disturb(number, row):
        if number == 2:
            assert stack.kill_idle_workers()  # now, as none of them has just been given something
        if number in (3, 4, 5, 6, 7):
            fault = faults[number - 3]
            threading.Timer(1.5, strike, (fault,)).start()  # into the middle of the next partition

    def strike(fault):
        if fault != "task":
            stack.kill(fault)
            done.append(fault)
            return
        for _ in range(200):
            if stack.kill_a_task():
                done.append(fault)
                return
            time.sleep(0.05)

    replay(stack, projects, "shaken", disturb)
    stack.wait_healthy()
    assert done == faults
    assert_same(outcome(stack, "shaken"), calm[1])


def test_a_task_that_was_lost_with_its_worker_is_queued_again(stack, calm):
    """A worker that is killed between taking a task and beginning it leaves no more behind than this."""
    import sqlalchemy as sa

    api = client(stack)
    body = {"dag_ids": ["calm.monitor"], "states": ["success"], "page_limit": 1}
    [run] = api.call("POST", "/dags/~/dagRuns/list", body)["dag_runs"]
    task = {"dag": run["dag_id"], "run": run["dag_run_id"], "task": "write_report"}
    where = "WHERE dag_id = :dag AND run_id = :run"
    job = "(SELECT max(id) FROM job WHERE job_type = 'SchedulerJob' AND state = 'running')"
    engine = sa.create_engine(stack.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    with engine.begin() as connection:
        lost = (
            f"state = 'queued', queued_by_job_id = {job}, queued_dttm = now() - interval '5 minutes', end_date = NULL"
        )
        connection.execute(sa.text(f"UPDATE task_instance SET {lost} {where} AND task_id = :task"), task)
        connection.execute(sa.text(f"UPDATE dag_run SET state = 'running', end_date = NULL {where}"), task)
    engine.dispose()
    deadline = time.monotonic() + 120
    while api.run(run["dag_id"], run["dag_run_id"])["state"] != "success":
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_broken_project_shows_its_problems_and_the_others_go_on(stack, projects, calm):
    folder = projects / "shattered"
    folder.mkdir()
    (folder / "project.yaml").write_text("name: shattered\nowner: nobody\ndatta: {}\n")
    (folder / "features.py").write_text("import airflow\n")
    api, deadline = client(stack, "admin"), time.monotonic() + 120
    while "shattered.broken" not in api.dags("shattered%"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert "calm.ingest" in api.dags("calm%")
    api.start("shattered.broken", "look")
    while (found := api.run("shattered.broken", "look"))["state"] not in ("success", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert found["state"] == "failed"
    [task] = api.call("GET", "/dags/shattered.broken/dagRuns/look/taskInstances")["task_instances"]
    log = str(api.call("GET", f"/dags/shattered.broken/dagRuns/look/taskInstances/{task['task_id']}/logs/1"))
    assert "datta" in log
    assert "imports airflow" in log.lower()


def test_tasks_link_to_what_they_made(stack, calm):
    api = client(stack, "admin")

    def links(dag, task):
        runs = api.call("POST", "/dags/~/dagRuns/list", {"dag_ids": [dag], "states": ["success"], "page_limit": 100})[
            "dag_runs"
        ]
        found = {}
        for run in runs:
            found |= {
                name: url
                for name, url in api.call("GET", f"/dags/{dag}/dagRuns/{run['dag_run_id']}/taskInstances/{task}/links")[
                    "extra_links"
                ].items()
                if url
            }
        return found

    assert "/docs/" in links("calm.ingest", "validate_partition")["Data docs"]
    assert "/#/models/calm/versions/" in links("calm.score", "score_partition")["Model version"]
    assert "/reports/" in links("calm.monitor", "write_report")["Evidently report"]
    assert "/#/experiments/" in links("calm.train", "train_model")["MLflow run"]
    assert "card.html" in links("calm.train", "evaluate_model")["Model card"]
    for task in ("await_verdict", "approve_change", "promote_change"):
        assert "/releases/" in links("calm.release", task).get("Evidence", ""), task
    assert "/#/models/calm/versions/" in links("calm.release", "check_staging")["Model version"]
    assert "/#/experiments/" in links("calm.train", "register_model")["MLflow run"]


def test_on_call_hears_the_loop_in_slack_once_in_threads_and_no_log_holds_the_token(stack, slack, calm):
    from tests.support.slack import TOKEN

    store = Store.open(stack.settings.store)
    alerts = recent(store.engine, "calm", limit=500)
    store.close()
    told = [str(message) for message in slack.messages]
    for number in {d[3] for d in calm[1][1] if d[1] == "promote"}:
        assert sum(f"Version {number} serves now" in one and "calm" in one for one in told) == 1
    assert [(one.alert.title, one.error) for one in alerts if one.state not in ("sent", "quiet", "digest")] == []
    episodes = [one for one in slack.messages if one.get("thread_ts")]
    assert episodes, "what follows from an episode stands in its thread"
    logs = [path for path in stack.layout.home.rglob("*.log") if TOKEN in path.read_text(errors="replace")]
    assert logs == []


def test_pages_of_the_lake_need_a_sign_in_and_raw_data_is_not_among_them(stack, calm):
    import httpx

    api = client(stack, "admin")
    page = "/updraft/files/calm/docs/2013-01-07T0500/index.html"
    assert httpx.get(stack.settings.airflow + page).status_code in (401, 403)
    headers = api.headers
    assert httpx.get(stack.settings.airflow + page, headers=headers).status_code == 200
    for path in (
        "raw/2013-01-07T0500/flights.parquet",
        "docs/../raw/x.html",
        "quarantine/2013-02-18T0500/weather.parquet",
    ):
        assert httpx.get(f"{stack.settings.airflow}/updraft/files/calm/{path}", headers=headers).status_code == 404


def test_every_dag_has_docs_owner_and_retries(stack, calm):
    api = client(stack, "admin")
    found = set(api.dags("calm.%"))
    stages = ("ingest", "score", "monitor", "watch", "train", "release", "rollback")
    assert found == {f"calm.{stage}" for stage in stages}
    for dag in found:
        details = api.call("GET", f"/dags/{dag}/details")
        assert "**Cadence:**" in details["doc_md"]
        assert "When it fails" in details["doc_md"]
        assert details["owners"] == ["flight-ops-ml"]
        for task in api.call("GET", f"/dags/{dag}/tasks")["tasks"]:
            assert task["retries"] >= 2
            assert task["owner"] == "flight-ops-ml"
    assert api.call("GET", "/importErrors")["import_errors"] == []


def test_a_file_that_is_late_is_waited_for_without_a_worker_through_a_restart_and_read_when_it_comes(
    stack, projects, tmp_path
):
    shop = MadeProject(tmp_path, days=1)
    today = datetime.now(UTC).date()
    shop.write(
        lambda spec: spec["data"].update(start=str(today - timedelta(days=1)), end=str(today + timedelta(days=9)))
    )
    shop.write(lambda spec: spec["data"]["sources"]["orders"].update(wait="1d"))
    shutil.copytree(shop.folder, projects / "shop")  # Airflow makes the run of the newest tick by itself
    api, deadline, key = client(stack, "admin"), time.monotonic() + 240, f"{today}T0000"

    def extraction():
        waiting = api.tasks(["shop.ingest"], ["deferred"]) if "shop.ingest" in api.dags("shop%") else []
        return [task for task in waiting if task["task_id"] == "extract_partition"]

    while not extraction():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    stack.kill("triggerer")
    stack.wait_healthy()
    assert extraction()
    store = Store.open(stack.settings.store)
    [partition] = find_unpublished(store, load_project(projects / "shop").spec, datetime.now(UTC))
    assert (partition.fate, partition.keys) == ("waiting", (key,))
    (tmp_path / f"orders-{key}.csv").write_text(
        "id,at,shop,amount,late\n" + "".join(f"{n},{today - timedelta(days=1)}T12:00:00Z,a,{n},0\n" for n in range(60))
    )
    while (row := store.partition("shop", key)) is None:
        assert time.monotonic() < deadline, api.open_runs(["shop.ingest"])
        time.sleep(0.5)
    assert (row.state, row.rows) == ("published", 60)
    assert recent(store.engine, "shop") == []
    store.close()


def test_airflows_own_backfill_loads_a_partition_which_goes_through_the_loop(stack, projects, calm):
    store = Store.open(stack.settings.store)
    project, api = load_project(projects / "calm"), client(stack, "admin")
    key = Replay(project, store, api, lambda *_: None).keys(PARTITIONS + 1)[-1]
    day = key[:10]
    body = {
        "dag_id": "calm.ingest",
        "from_date": f"{day}T00:00:00Z",
        "to_date": f"{day}T23:00:00Z",
        "reprocess_behavior": "none",
    }
    api.call("POST", "/backfills", body | {"run_backwards": False, "dag_run_conf": {}, "max_active_runs": 1})
    deadline = time.monotonic() + 180
    while store.seen("calm").get("monitor", "") < key:
        assert time.monotonic() < deadline, api.open_runs(["calm.ingest", "calm.score", "calm.monitor"])
        time.sleep(0.5)
    assert store.partition("calm", key).state == "published"
    assert "champion" in store.predictions("calm", key)
    store.close()


def test_a_tampered_model_is_refused_and_told_until_the_task_ends_well(stack, projects, calm, slack):
    """The last test: it leaves a partition that was not scored."""
    store = Store.open(stack.settings.store)
    champion = store.serving("calm").champion
    model = stack.settings.home / "models" / "calm" / champion / "model.ubj"
    content = model.read_bytes()
    model.write_bytes(content[:-10] + b"tampered!!")
    project = load_project(projects / "calm")
    key = Replay(project, store, client(stack), lambda *_: None).keys(PARTITIONS + 2)[-1]
    api, deadline = client(stack), time.monotonic() + 120
    api.start("calm.ingest", f"tampered__{key}", partition=key)
    while not [alert for alert in recent(store.engine, "calm") if alert.alert.kind == "integrity"]:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    _quiet(stack, "calm", api)
    assert "champion" not in store.predictions(
        "calm", key
    )  # what served before it may be in shadow, and is scored first
    assert any(
        "model.ubj" in alert.alert.detail for alert in recent(store.engine, "calm") if alert.alert.kind == "integrity"
    )
    [run] = api.call("POST", "/dags/~/dagRuns/list", {"dag_ids": ["calm.score"], "states": ["failed"]})["dag_runs"]
    model.write_bytes(content)  # whole again: clearing the task takes it up where it stopped
    api.clear_failed("calm.score", run["dag_run_id"])
    while "champion" not in store.predictions("calm", key):
        assert time.monotonic() < deadline + 120
        time.sleep(0.5)
    # What Airflow gives to callbacks: the failure of that task, and its end.
    while not [one for one in slack.messages if "Resolved: calm.score.score_partition failed" in str(one["blocks"])]:
        assert time.monotonic() < deadline + 180, slack.messages[-3:]
        time.sleep(0.5)
    assert f"<{stack.settings.airflow}/updraft/runbook#score_partition|Runbook>" in str(slack.messages)
    store.close()
