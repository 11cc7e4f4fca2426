"""The pages of the lake: who sees them, what they are served with, and that no address leads out of a project's folder."""

from __future__ import annotations

import html
import os
import re
import shutil
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support.flights import PROJECTS
from tests.support.team_airflow import METRICS_TOKEN

from updraft.alerts import runbook
from updraft.errors import SettingsError
from updraft.lake.places import Lake
from updraft.pages.lake import read_page, read_plain
from updraft.pages.runbook import runbook_page

SECRET = b"<p>nobody's page</p>"
DOCS = "docs/2026-01-05T0500/index.html"


def written(lake, project):
    """A page of a project."""
    path = lake / project / DOCS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<!doctype html><title>{project}</title>")


# Who sees them


@pytest.fixture
def pages(team_airflow):
    for project in ("alpha", "beta"):
        written(team_airflow.lake, project)

    def status(user, *paths):
        with team_airflow.client(user) as client:
            return [client.get(f"/updraft/{path}").status_code for path in paths]

    return status


EVERYBODYS = ("files/alpha/" + DOCS, "files/beta/" + DOCS, "pods/alpha/run", "pods/beta/run")
OF_POLICY = ("learning/alpha", "learning/beta")
"""Pages that a project without a sound policy, as these are, does not have."""


@pytest.mark.timeout(600)
def test_who_may_read_a_projects_dag_sees_its_pages_and_nobody_else(pages):
    for user in ("viewer", "operator", "approver", "admin"):
        assert pages(user, *EVERYBODYS) == [200, 200, 200, 200], user
        assert pages(user, *OF_POLICY) == [404, 404], user
    for user in ("alpha_viewer", "alpha_operator", "alpha_approver"):
        assert pages(user, *EVERYBODYS) == [200, 403, 200, 403], user
        assert pages(user, *OF_POLICY) == [404, 403], user
    assert pages("nobody", *EVERYBODYS) == [403, 403, 403, 403]
    assert pages("nobody", "runbook") == [200], "it tells of no project"
    assert pages("nobody", *OF_POLICY) == [403, 403]


@pytest.mark.timeout(600)
def test_who_may_not_see_a_project_does_not_learn_whether_it_is_there(pages, team_airflow):
    with team_airflow.client("alpha_viewer") as client:
        answers = [
            client.get(f"/updraft/files/{name}/docs/index.html") for name in ("beta", "gamma", "%00", "..", "a%2Fb")
        ]
        answers += [client.get(f"/updraft/pods/{name}/run") for name in ("beta", "gamma")]
        answers += [client.get(f"/updraft/learning/{name}") for name in ("beta", "gamma")]
    beta = answers[0]
    assert beta.status_code == 403
    same = [answer for answer in answers if answer.status_code == 403]
    assert {(answer.text, *sorted(answer.headers.keys())) for answer in same} == {
        (beta.text, *sorted(beta.headers.keys()))
    }
    assert [answer.status_code for answer in answers if answer not in same] == [404]  # the address of another route


@pytest.mark.timeout(600)
def test_without_a_sign_in_there_is_nothing_not_even_a_list_of_routes(team_airflow):
    import httpx

    for path in (*EVERYBODYS, "files/gamma/docs/index.html", "runbook"):
        assert httpx.get(f"{team_airflow.url}/updraft/{path}").status_code == 401
    for path in ("docs", "redoc", "openapi.json"):
        assert httpx.get(f"{team_airflow.url}/updraft/{path}").status_code == 404


@pytest.mark.timeout(600)
def test_metrics_are_for_the_scraper_whoever_else_is_signed_in(team_airflow):
    import httpx

    url = f"{team_airflow.url}/updraft/metrics"
    with team_airflow.client("admin") as client:
        assert client.get("/updraft/metrics").status_code == 401
    assert httpx.get(url).status_code == 401
    answer = httpx.get(url, headers={"Authorization": f"Bearer {METRICS_TOKEN}"}, timeout=240)
    assert answer.status_code == 200
    assert 'updraft_project_error{project="alpha",cause="folder"} 1\n' in answer.text


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "path", ["files/alpha/" + DOCS, "files/alpha/docs/no.html", "pods/alpha/run", "files/gamma/x/y"]
)
def test_every_answer_carries_the_headers_that_keep_a_page_to_itself(team_airflow, pages, path):
    with team_airflow.client("viewer") as client:
        headers = client.get(f"/updraft/{path}").headers
    policy = headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; ")
    assert "allow-same-origin" not in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'self'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "private, no-store"


# No address leads out


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A lake with one page, and around it what must never be shown."""
    home = tmp_path_factory.mktemp("edges")
    root = home / "lake"
    for project in ("alpha", "beta"):
        (home / "projects" / project).mkdir(parents=True)
        (home / "projects" / project / "project.yaml").write_text(f"name: {project}\n")
        written(root, project)
    shutil.copytree(PROJECTS / "flight_delays", home / "projects" / "flight_delays")
    for path in (
        "secret.html",
        "lake/secret.html",
        "lake/alpha/secret.html",
        "lake/alpha/raw/secret.html",
        "lake/beta/docs/secret.html",
        "outside/index.html",
        "lake/alpha/docs/.half.html.0123",
        "lake/alpha/docs/.hidden.html",
    ):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(SECRET)
    docs = root / "alpha" / "docs"
    (docs / "linked.html").symlink_to(home / "secret.html")
    (docs / "inside.html").symlink_to(root / "alpha" / "raw" / "secret.html")
    (docs / "linked").symlink_to(home / "outside")
    (docs / "up").symlink_to("..")
    (docs / "loop.html").symlink_to("loop.html")
    (docs / "folder.html").mkdir()
    os.mkfifo(docs / "pipe.html")
    (root / "alpha" / "searches").symlink_to(home / "outside")
    (root / "alpha" / "trainings").mkdir()
    (root / "alpha" / "trainings" / "linked").symlink_to(home / "outside")
    return home


@pytest.fixture(scope="module")
def shown(lake, postgres_server):
    """What the app itself answers to a path, to somebody who may see every project that is there."""
    from fastapi import HTTPException
    from starlette.testclient import TestClient

    from updraft.spec.load import project_names
    from updraft_airflow import deployment
    from updraft_airflow.pages import access
    from updraft_airflow.pages import app as pages

    store = postgres_server.new_store()

    def everybody(project: str) -> str:
        if project not in project_names(lake / "projects"):
            raise HTTPException(403, "Forbidden")
        return project

    patch = pytest.MonkeyPatch()
    patch.setenv("UPDRAFT_HOME", str(lake))
    patch.setenv("UPDRAFT_PROJECTS", str(lake / "projects"))
    patch.setenv("UPDRAFT_STORE", store)
    deployment.settings.cache_clear()
    pages.app.dependency_overrides[access.permitted] = everybody
    with TestClient(pages.app, raise_server_exceptions=False) as client:
        yield client.get
    pages.app.dependency_overrides.clear()
    patch.undo()
    deployment.settings.cache_clear()
    postgres_server.drop_database(store)
    deployment.settings.cache_clear()


STEPS = st.sampled_from(
    [
        "alpha", "beta", "docs", "raw", "reports", "searches", "2026-01-05T0500", "index.html", "secret.html", "outside",
        "linked.html", "inside.html", "linked", "up", "loop.html", "folder.html", "pipe.html", ".hidden.html",
        ".half.html.0123", "", ".", "..", "...", "%2e%2e", "%252e%252e", "..%2f..", "..\\..", "%5c..%5c", "\x00.html",
        "index.html\x00", "%00", "a" * 256 + ".html", "é" * 200 + ".html", "x" * 4096, "～.html", "．．", "\u202e.html",
        "\U0001f4a5.html", "\ufeff", "C:", "con", "a::file:", "*.html", "[i]ndex.html", "?x", "#x", "index.html?", "~root",
        "proc", "self", "\n.html", " .html", "index.html ",
    ]
)  # fmt: skip
ADDRESSES = st.lists(STEPS | st.text(max_size=12), min_size=1, max_size=6)
ENCODED = st.sampled_from([lambda step: quote(step, safe=""), lambda step: quote(step, safe="./%\\"), quote])


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from(
        ["files/alpha/docs", "files/alpha", "files", "pods/alpha", "pods", "learning/alpha", "learning"]
    ),
    steps=ADDRESSES,
    way=ENCODED,
)
@example(route="files/alpha/docs", steps=["linked.html"], way=quote)
@example(route="files/alpha/docs", steps=["linked", "index.html"], way=quote)
@example(route="files/alpha/docs", steps=["up", "docs", "2026-01-05T0500", "index.html"], way=quote)
@example(route="files/alpha/docs", steps=["pipe.html"], way=quote)
@example(route="files/alpha/docs", steps=["folder.html"], way=quote)
@example(route="files/alpha/docs", steps=["\x00.html"], way=quote)
@example(route="files/alpha/docs", steps=["a" * 256 + ".html"], way=quote)
@example(route="files/alpha/docs", steps=["a/" * 3000 + "x.html"], way=quote)
@example(route="files/alpha", steps=["searches", "index.html"], way=quote)
@example(route="pods/alpha", steps=["linked"], way=quote)
@example(route="pods/alpha", steps=["x" * 4096], way=quote)
@example(route="pods/alpha", steps=[".."], way=lambda step: "%2e%2e")
def test_no_address_makes_an_error_of_the_server_or_leads_out_of_the_published_parts(shown, route, steps, way):
    answer = shown(f"/{route}/{'/'.join(map(way, steps))}")
    assert answer.status_code in (200, 307, 401, 403, 404, 405), (
        answer.text
    )  # 401: the fleet, which is at the root, asks who it is
    assert SECRET not in answer.content
    if answer.status_code == 200 and route.startswith("files"):
        assert re.fullmatch(rb"<!doctype html><title>(alpha|beta)</title>", answer.content)


def test_the_pages_themselves_are_shown(shown):
    assert shown(f"/files/alpha/{DOCS}").text == "<!doctype html><title>alpha</title>"
    assert shown("/pods/alpha/manual__2026-01-05T05:00:00+00:00").status_code == 200
    assert shown("/pods/alpha/..").status_code == 404
    assert "the project is broken" in shown("/learning/alpha").text
    assert b"flight_delays: what it learns from" in shown("/learning/flight_delays").content


def test_the_runbook_has_an_anchor_for_every_alert_and_task_for_who_is_signed_in(shown):
    assert shown("/runbook").status_code == 401
    page = html.unescape(runbook_page().decode())
    for name, entry in runbook.entries():
        assert f'<h3 id="{name}">{entry.title}</h3>' in page
    assert "<code>updraft pass-over PROJECT PARTITION --reason WHY</code>" in page
    assert "`" not in page


BUCKET = "memory://a-lake"


@settings(max_examples=200, deadline=None)
@given(steps=ADDRESSES)
@example(steps=["2026-01-05T0500"])
@example(steps=["a::file:", "etc", "passwd.html"])
def test_an_object_store_is_read_by_names_of_the_lake_alone(steps):
    from updraft import files

    files.write_bytes(f"{BUCKET}/alpha/{DOCS}", b"a page")
    files.write_bytes(f"{BUCKET}/alpha/raw/secret.html", SECRET)
    try:
        assert read_page(BUCKET, "alpha", "docs", "/".join(steps)).content == b"a page"
    except FileNotFoundError:
        assert "/".join(steps) != DOCS.removeprefix("docs/")


def test_a_store_that_is_away_is_no_missing_page(monkeypatch):
    from updraft import files

    def away(url):
        raise SettingsError(f"{url}: reading was refused")

    monkeypatch.setattr(files, "read_bytes", away)
    with pytest.raises(SettingsError):
        read_plain(BUCKET, ("alpha", "docs", "index.html"))


# What stands in them


class Elements(HTMLParser):
    """The elements of a page, and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, set[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")


HOSTILE = """</title></style></textarea></script><script>x()</script><img src=x onerror="x()">'" onload='x()' {{7*7}}"""


def harmless(page: str) -> bool:
    """Whether a page that holds hostile texts throughout has no element or attribute of theirs."""
    elements = Elements(page)
    assert "&lt;script&gt;" in page
    assert "49" not in page
    links = elements.attributes.get("href", set())
    return (
        not {"script", "img", "iframe"} & set(elements.tags)
        and not any(name.startswith("on") for name in elements.attributes)
        and not any(re.match(r"\s*(javascript|data|vbscript):", link, re.IGNORECASE) for link in links)
    )


def test_data_docs_take_values_of_a_feed_as_texts(tmp_path):
    from tests.support.flights import PROJECTS

    from updraft.data import docs
    from updraft.data.checks import Check, Checks, SourceChecks
    from updraft.spec.load import load_project

    project = load_project(PROJECTS / "flight_delays")
    check = Check(HOSTILE, "row", success=False, observed=HOSTILE, unexpected=2, examples=(HOSTILE,))
    found = SourceChecks(3, 2, {HOSTILE: 2}, (check,), joined=0.5)
    row_source = next(iter(project.spec.data.sources))
    sources = {row_source: found, HOSTILE: found}
    checks = Checks(project.name, "2026-01-05T0500", "refused", (HOSTILE,), sources)
    docs.write(Lake(str(tmp_path), project.name), checks, row_source=row_source)
    assert harmless((tmp_path / project.name / "docs" / "2026-01-05T0500" / "index.html").read_text())
    assert harmless((tmp_path / project.name / "docs" / "months" / "2026-01" / "index.html").read_text())


def test_a_model_card_takes_slices_groups_reasons_and_links_as_texts():
    import numpy as np

    from updraft.evaluation.card import CardData, Measured, card_html
    from updraft.evaluation.fairness import Gap, Group
    from updraft.tasks.binary import BINARY
    from updraft.tasks.losses import LOG_LOSS
    from updraft.tasks.metrics import MeanLoss

    measured = {HOSTILE: Measured(0.5, 0.6, -0.2, 0.1, 10)}
    groups = (Group(HOSTILE, 9, 5, 0.1, 0.2, decides=True), Group(HOSTILE, 8, 5, 0.4, 0.2, decides=True))
    gap = Gap(
        HOSTILE,
        HOSTILE,
        (*groups, Group(HOSTILE, 1, 1, 1.0, 0.0, decides=False)),
        1,
        0.3,
        0.0,
        0.1,
        0.4,
        None,
        passed=False,
    )
    card = CardData(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, BINARY, HOSTILE, HOSTILE, MeanLoss(HOSTILE, LOG_LOSS, HOSTILE), measured, measured, measured,
        np.array([0.0, 1.0] * 20), np.linspace(0.1, 0.9, 40), [0.7, 0.6], 2, {HOSTILE: 1.0}, HOSTILE,
        (HOSTILE,), {HOSTILE: HOSTILE}, {HOSTILE: "https://example.org/" + HOSTILE, "bad": "javascript:x()"},
        (gap,),
    )  # fmt: skip
    page = card_html(card)
    pictures = Elements(page).attributes["src"]
    assert pictures
    assert all(re.fullmatch(r"data:image/png;base64,[\w+/=]+", source) for source in pictures)
    assert harmless(re.sub(r"<img alt=\"[^\"]*\" src=\"data:image/png;base64,[\w+/=]+\">", "", page))


def test_a_card_draws_names_with_signs_of_formulas():
    import numpy as np

    from updraft.evaluation.card import CardData, Measured, card_html
    from updraft.tasks.binary import BINARY

    odd = {r"a$\frac{$b": Measured(0.5, 0.6)}
    card = CardData(
        "p", "1", "d", "o", BINARY, "k", "out", BINARY.headline, odd, odd, odd, np.array([0.0, 1.0] * 20),
        np.linspace(0.1, 0.9, 40), [0.7, 0.6], 2, {next(iter(odd)): 1.0}, "gain",
    )  # fmt: skip
    assert r"a$\frac{$b" in card_html(card)


def test_the_page_of_learning_takes_everything_as_texts():
    from tests.support import flights
    from tests.support.broken_feeds import keep_out

    from updraft.loop.readmission import readmit_signs
    from updraft.pages.learning import learning_page
    from updraft.store.store import Store

    store, spec = Store.in_memory(), flights.flights().spec
    for key in ("2013-01-07T0500", "2013-01-14T0500"):
        keep_out(store, spec.name, key, [("nulls", HOSTILE), ("unit", "distance")])
    readmit_signs(store, spec.name, columns=[HOSTILE], always=True, by=HOSTILE, reason=HOSTILE)
    page = learning_page(store, spec).decode()
    assert harmless(page)
    assert "Kept out of trainings: 2 of the newest 2 partitions" in page
    assert "updraft readmit flight_delays --column distance --sign unit --reason WHY" in page
    assert "no fault any more (by" in page


def test_the_page_of_pods_takes_everything_as_texts_and_links_to_pages_alone():
    from dataclasses import replace

    from updraft.jobs.training_run import TrainingRun
    from updraft.lake.places import Lake
    from updraft.pages.pods import pods_page
    from updraft.pods.attempts import Attempt, note_attempt
    from updraft.store.store import Store

    store = Store.in_memory()
    attempt = Attempt(
        pod=HOSTILE, namespace=HOSTILE, image=HOSTILE, gpu=0, cpu="1", memory="1Gi", wanted_gpu=0, wanted_memory="1Gi",
        why=HOSTILE, words=HOSTILE, node=HOSTILE, image_id=HOSTILE,
    )  # fmt: skip
    for pod in (attempt, replace(attempt, pod="trainer-1")):
        note_attempt(store, "alpha", "run", pod)

    def page(pod_url: str) -> str:
        return pods_page(TrainingRun("run", store, Lake("file:///lake", "alpha")), pod_url).decode()

    good = page("https://grafana.example.org/d/pods?namespace={namespace}&pod={pod}&node={node}")
    assert harmless(good)
    links = Elements(good).attributes["href"]
    assert len(links) == 2
    assert all(re.fullmatch(r"https://grafana\.example\.org/d/pods\?[\w%&=.-]+", link) for link in links), links
    for bad in (
        "javascript:alert('{pod}')",
        " javascript:alert(1)",
        "data:text/html,{pod}",
        "//elsewhere/{pod}",
        "{pod",
        "{0}",
    ):
        assert "href" not in Elements(page(bad)).attributes, bad


def test_the_page_of_a_search_takes_names_and_reasons_as_texts():
    from types import SimpleNamespace

    from jinja2 import Environment

    from updraft.loop import search_result

    trial = SimpleNamespace(number=0, loss=0.5, rounds=3, pruned=False)
    plan = SimpleNamespace(run=HOSTILE, reason=HOSTILE, holdout=[HOSTILE], request=SimpleNamespace(window=[HOSTILE]))
    outcome = SimpleNamespace(words=HOSTILE, best=trial, tried=[trial], failed={1: HOSTILE}, importance={HOSTILE: 0.5})
    values = {
        "project": HOSTILE, "plan": plan, "chosen": outcome, "names": [HOSTILE], "top": 1.0, "bottom": 0.0,
        "results": {0: SimpleNamespace(seconds=1.0, peak_memory_mb=5)}, "all": {0: {HOSTILE: HOSTILE}}, "shown": str,
        "lines": [{"points": "0,0", "colour": "red", "width": 1, "title": HOSTILE}],
    }  # fmt: skip
    assert harmless(Environment(autoescape=True).from_string(search_result._HTML).render(values))


@pytest.mark.parametrize(
    "url", ["javascript:x()", " javascript:x()", "JaVaScRiPt:x()", "data:text/html,x", "//elsewhere", None]
)
def test_a_task_links_to_pages_of_servers_alone(url):
    from updraft_airflow.links import CardLink, RunLink, VersionLink

    key = None  # these links ask nothing about the task
    for link, name in ((CardLink(), "card"), (RunLink(), "mlflow_url"), (VersionLink(), "version_url")):
        assert link.address(None, {name: url}, key) is None
        assert link.address(None, {name: "https://mlflow.example.org/x"}, key) == "https://mlflow.example.org/x"
