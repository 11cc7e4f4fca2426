"""docker/observability: each rule and each dashboard, held against what a project with a history tells a scraper."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.support.postgres import free_port

from updraft.control.exposition import CONTENT_TYPE
from updraft.control.metrics import FAMILIES, scrape
from updraft.loop.auditing import audit_decisions, keep_audit

FOLDER = Path(__file__).parents[2] / "docker" / "observability"
RULES = sorted(FOLDER.glob("*.rules.yaml"))
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("dashboards/*.json"))}
OURS = re.compile(r"\bupdraft[_:][a-z_:]+")
TOKEN = "0123456789abcdef"
PATIENCE = 240  # seconds
needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="needs prometheus and promtool (Debian: apt-get install prometheus)",
)
DAY = 24 * 60
P = '{project="p"}'
ALERTS: dict[str, tuple[dict[str, str], int, str]] = {
    "UpdraftMetricsAbsent": ({}, 5, ""),
    "UpdraftStoreAway": ({"updraft_store_up": "0"}, 2, ""),
    "UpdraftScrapeSlow": ({"updraft_scrape_duration_seconds": "25"}, 15, ""),
    "UpdraftAlertsKeptByFile": ({"updraft_alerts_kept_by_file": "1"}, 60, ""),
    "UpdraftProjectNotRead": ({'updraft_project_error{project="p", cause="folder"}': "1"}, 10, 'cause="folder"'),
    "UpdraftPersonWanted": ({f"updraft_project_needs_person{P}": "1"}, 240, "-"),
    "UpdraftPartitionLate": ({'updraft_partitions_wanted{project="p", fate="late"}': "1"}, 15, "-"),
    "UpdraftPartitionRefused": ({'updraft_partitions_wanted{project="p", fate="refused"}': "1"}, 60, "-"),
    "UpdraftMonitoringBehind": (
        {
            'updraft_partition_timestamp_seconds{project="p", step="published"}': "7200",
            'updraft_partition_timestamp_seconds{project="p", step="monitored"}': "3600",
        },
        120,
        "-",
    ),
    "UpdraftLossWorse": ({f"updraft_loss{P}": "0.6", f"updraft_loss_at_promotion{P}": "0.4"}, DAY, "-"),
    "UpdraftQuarantine": ({f"updraft_quarantined_ratio{P}": "0.2"}, 0, "-"),
    "UpdraftKeptOut": ({f"updraft_kept_out_ratio{P}": "0.6"}, 60, "-"),
    "UpdraftApprovalWaits": ({'updraft_releases_open{project="p", state="approval"}': "1"}, DAY, "-"),
    "UpdraftEpisodeNotStarted": ({'updraft_episodes_open{project="p", state="due"}': "1"}, 60, "-"),
    "UpdraftBudgetSpent": ({f"updraft_training_budget_left{P}": "0"}, 0, "-"),
    "UpdraftIncidentOpen": ({f"updraft_incidents_open{P}": "1"}, 240, "-"),
    "UpdraftAlertsUndelivered": ({f"updraft_alerts_undelivered_timestamp_seconds{P}": "0"}, 61, "-"),
    "UpdraftChainBroken": ({f"updraft_chain_whole{P}": "0"}, 0, "-"),
    "UpdraftChainNotVerified": ({f"updraft_chain_verified_timestamp_seconds{P}": "0"}, 3 * DAY + 30, "-"),
}
"""By alert: series that call for it, minutes until it fires, and labels beside the project's (``-``: none; empty: it is of no project)."""
HEALTHY = {
    "updraft_store_up": "1",
    "updraft_scrape_duration_seconds": "1",
    "updraft_alerts_kept_by_file": "0",
    'updraft_project_error{project="p", cause="folder"}': "0",
    f"updraft_project_needs_person{P}": "0",
    'updraft_partitions_wanted{project="p", fate="late"}': "0",
    'updraft_partitions_wanted{project="p", fate="refused"}': "0",
    'updraft_partitions_wanted{project="p", fate="waiting"}': "1",
    'updraft_partition_timestamp_seconds{project="p", step="published"}': "7200",
    'updraft_partition_timestamp_seconds{project="p", step="monitored"}': "7200",
    f"updraft_loss{P}": "0.4",
    f"updraft_loss_at_promotion{P}": "0.4",
    f"updraft_quarantined_ratio{P}": "0.01",
    f"updraft_kept_out_ratio{P}": "0.1",
    'updraft_releases_open{project="p", state="approval"}': "0",
    'updraft_releases_open{project="p", state="probation"}': "1",
    'updraft_episodes_open{project="p", state="due"}': "0",
    'updraft_episodes_open{project="p", state="started"}': "1",
    f"updraft_training_budget_left{P}": "3",
    f"updraft_incidents_open{P}": "0",
    f"updraft_chain_whole{P}": "1",
    f"updraft_decisions{P}": "9",
}


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def expressions(board: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_dashboards_name_only_what_there_is():
    there = {family.name for family in FAMILIES} | {rule["record"] for rule in rules() if "record" in rule}
    asked = {name: expressions(board) for name, board in DASHBOARDS.items()}
    asked["rules"] = [rule["expr"] for rule in rules()]
    unknown = {
        (where, name) for where, exprs in asked.items() for name in OURS.findall(" ".join(exprs)) if name not in there
    }
    assert unknown == set()
    assert set(DASHBOARDS) == {"updraft-fleet", "updraft-project", "updraft-platform"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_as_grafana_takes_it(name):
    board = DASHBOARDS[name]
    assert board["uid"] == name
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"]))) <= variables


def test_settings_of_airflows_own_metrics_are_those_of_the_pinned_airflow():
    spec = importlib.util.find_spec("airflow")  # read where it is installed: to import it takes seconds
    folder = Path(str(spec.submodule_search_locations[0]))
    options = yaml.safe_load((folder / "config_templates" / "config.yml").read_text())
    page = (FOLDER.parents[1] / "docs" / "observability.md").read_text().partition("## Lineage")[0]  # of a provider
    told = set(re.findall(r"AIRFLOW__([A-Z]+)__([A-Z_]+)", page))
    assert len(told) >= 6
    assert {(section, key) for section, key in told if key.lower() not in options[section.lower()]["options"]} == set()
    metrics = options["metrics"]["options"]
    deprecated = ("otel_host", "otel_port", "otel_interval_milliseconds", "otel_service", "otel_ssl_active")
    assert all(metrics[name].get("version_deprecated") == "3.2.0" for name in deprecated)
    reads = (folder / "_shared" / "observability" / "otel_env_config.py").read_text()
    assert all(f'"{name}"' in reads for name in re.findall(r"export (OTEL_\w+)=", page))
    sent = (folder / "_shared" / "observability" / "metrics" / "metrics_template.yaml").read_text()
    watched = page.partition("What to watch beside")[2].partition("## Logs")[0]
    names = [name for name in re.findall(r"`([a-z_.]+)`", watched) if name not in ("dag_id", "task_id")]
    assert len(names) >= 9
    assert [name for name in names if f'name: "{name}"' not in sent] == []


@needs_prometheus
def test_each_alert_fires_when_it_should_no_earlier_and_none_of_a_healthy_project(tmp_path):
    assert {rule["alert"] for rule in rules() if "alert" in rule} == set(ALERTS)
    severity = {rule["alert"]: rule["labels"]["severity"] for rule in rules() if "alert" in rule}

    def case(step: int, series: dict[str, str], *asked: tuple[int, str, list[dict[str, Any]]]) -> None:
        values = [{"series": name, "values": f"{value}+0x{4 * DAY // step}"} for name, value in series.items()]
        tests = [{"eval_time": f"{at}m", "expr": expr, "exp_samples": samples} for at, expr, samples in asked]
        cases[step].append({"interval": f"{step}m", "input_series": values, "promql_expr_test": tests})

    # What lasts for hours is evaluated every half hour: promtool takes a second for a thousand evaluations.
    cases: dict[int, list[dict[str, Any]]] = {1: [], 30: []}
    case(30, {**HEALTHY, f"updraft_chain_verified_timestamp_seconds{P}": str(DAY * 60)}, (DAY, "ALERTS", []))
    never = {f"updraft_decisions{P}": "9"}
    for alert, series, minutes, more in (
        *((alert, *called) for alert, called in ALERTS.items()),
        ("UpdraftChainNotVerified", never, DAY, "-"),
    ):
        step = 1 if minutes <= 120 else 30
        labels = [f'alertname="{alert}"', 'alertstate="firing"', f'severity="{severity[alert]}"']
        labels += ['project="p"', *([more] if more != "-" else [])] if more else []
        firing = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
        fires = (minutes + step, firing, [{"labels": f"ALERTS{{{','.join(labels)}}}", "value": 1}])
        earlier = [(minutes - step, firing, [])] if minutes else []
        case(step, series, *earlier, fires)
    promtool("check", "rules", *map(str, RULES))
    for step, tests in cases.items():
        file = {"rule_files": [str(FOLDER / "alerts.rules.yaml")], "evaluation_interval": f"{step}m", "tests": tests}
        (tmp_path / f"{step}.yaml").write_text(yaml.safe_dump(file))
        promtool("test", "rules", str(tmp_path / f"{step}.yaml"))


@contextmanager
def serving(text: str) -> Iterator[str]:
    """Address of a server that shows a scraper with the token a text."""

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers["Authorization"] == f"Bearer {TOKEN}" and self.path == "/updraft/metrics"
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.end_headers()
            self.wfile.write(text.encode() if allowed else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """A Prometheus with the example's configuration, every second, of a server of ours."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    [job] = config["scrape_configs"]
    job |= {"scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": [{"targets": [target]}]}
    (folder / "updraft_metrics_token").write_text(TOKEN)
    for path in RULES:
        shutil.copy(path, folder)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    promtool("check", "config", str(folder / "prometheus.yml"))
    port = free_port()
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        command = ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait(60)


def result(client: httpx.Client, expression: str) -> list[Any]:
    answer = client.get("/query", params={"query": expression})
    assert answer.status_code == 200, f"{expression}: {answer.text}"
    return list(answer.json()["data"]["result"])


def wait_for(client: httpx.Client, expression: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if result(client, expression):
                return
        except (httpx.TransportError, AssertionError):  # it starts
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, f"{expression} brought nothing"
        time.sleep(0.3)


@needs_prometheus
def test_every_expression_of_the_dashboards_brings_data_of_a_real_scrape(watched, tmp_path):
    loop, now = watched
    keep_audit(loop.store, audit_decisions(loop.store, loop.settings, loop.name, None), now)
    text = scrape([loop.name], lambda _: loop, lambda: loop.store, tmp_path, now)
    with serving(text) as target, prometheus(tmp_path, target) as client:
        wait_for(client, "updraft:chain_verified_age:seconds")
        projects = client.get("/label/project/values", params={"match[]": "updraft_project_info"}).json()["data"]
        assert projects == [loop.name]
        asked = [expr.replace("$project", loop.name) for board in DASHBOARDS.values() for expr in expressions(board)]
        assert [expr for expr in asked if not result(client, expr)] == []
        groups = client.get("/rules").json()["data"]["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
        assert sum(len(group["rules"]) for group in groups) == len(list(rules()))
