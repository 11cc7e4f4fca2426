"""The control room in a real Airflow: who sees what, who may do what, and what a person reads in a browser."""

from __future__ import annotations

import shutil

import pytest
from tests.support import hours
from tests.support.team_airflow import MARKED, RUN

from updraft.loop.stopping import stopped_remedies
from updraft.store.store import Store

CHROMIUM = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
pytestmark = pytest.mark.timeout(900)
PATIENCE = 240_000  # milliseconds
ACTIONS = {
    "train": {},
    "change": {"parameters": {"max_depth": 3}},
    "rollback": {},
    "ingest": {"partition": "2020-01-01T0500"},
    "readmit": {"partition": "2020-01-01T0500"},
    "stop": {},
    "resume": {},
    "answer": {"release": RUN, "answer": "approve"},
}


@pytest.fixture(scope="module")
def store(team_airflow):
    store = Store.open(team_airflow.env["UPDRAFT_STORE"])
    yield store
    store.close()


@pytest.fixture(scope="module")
def room(team_airflow, store):
    """The hours' project with a history of a hundred partitions, beside two that are broken."""
    projects = team_airflow.home / "projects"
    loop, models = hours.begin(projects, store)
    hours.lengthen(loop, models, 120)
    yield team_airflow
    shutil.rmtree(projects / "hours")


def asked(client, project, action, headers=None, **body):
    answer = {"reason": "on call wants it", **ACTIONS[action], **body}
    return client.post(f"/updraft/api/projects/{project}/actions/{action}", json=answer, headers=headers)


def test_the_fleet_has_the_projects_that_a_person_may_see_those_that_need_one_first(room):
    with room.client("viewer") as client:
        fleet = client.get("/updraft/api/fleet").json()
    assert [(row["project"], row["state"]) for row in fleet["rows"]][:2] == [("alpha", "broken"), ("beta", "broken")]
    assert fleet["rows"][2]["project"] == "hours"
    with room.client("alpha_viewer") as client:
        assert [row["project"] for row in client.get("/updraft/api/fleet").json()["rows"]] == ["alpha"]
    with room.client("nobody") as client:
        assert client.get("/updraft/api/fleet").json()["rows"] == []


def test_each_page_shows_what_the_api_answers(room):
    with room.client("viewer") as client:
        project = client.get("/updraft/api/projects/hours").json()
        [release] = project["row"]["under_way"]
        version, key = project["row"]["champion"], project["volume"][-1]["key"]
        paths = (f"releases/{release['id']}", f"versions/{version}", f"partitions/{key}")
        for path in ("", *(f"/{path}" for path in paths)):
            assert client.get(f"/updraft/api/projects/hours{path}").status_code == 200, path
            page = client.get(f"/updraft/projects/hours{path}")
            assert page.status_code == 200, path
            assert "'unsafe-inline'" not in page.headers["content-security-policy"]
        assert project["next"][0][1:12] in client.get("/updraft/projects/hours").text
        bundle = client.get(f"/updraft/api/projects/hours/versions/{version}/audit")
        assert bundle.headers["content-disposition"] == f'attachment; filename="hours-v{version}-audit.json"'
        assert client.get(f"/updraft/api/projects/hours/versions/{version}/compare/{version}").status_code == 404
        for path in ("releases/none", "versions/999", "versions/%00", "partitions/2013", "partitions/'; drop table"):
            assert client.get(f"/updraft/projects/hours/{path}").status_code == 404, path
            assert client.get(f"/updraft/api/projects/hours/{path}").status_code == 404, path
        described = client.get("/updraft/api/openapi.json").json()
        assert "/api/projects/{project}/actions/stop" in described["paths"]


def test_who_may_not_see_a_project_sees_no_page_of_it(room):
    with room.client("alpha_viewer") as client:
        for path in ("projects/hours", "projects/hours/versions/1", "api/projects/hours", "projects/none"):
            assert client.get(f"/updraft/{path}").status_code == 403, path
    with room.client("nobody") as client:
        assert client.get("/updraft/projects/alpha").status_code == 403


def test_a_viewer_sees_no_button_and_gets_403(room, store):
    with room.client("viewer") as client:
        assert "data-opens" not in client.get("/updraft/projects/hours").text
        assert {asked(client, "hours", action).status_code for action in ACTIONS} == {403}
    with room.client("operator") as client:
        assert 'data-opens="act-train"' in client.get("/updraft/projects/hours").text
        assert asked(client, "hours", "answer").status_code == 403
    assert stopped_remedies(store, "hours") is None


def test_remedies_are_stopped_and_resumed_in_the_persons_name_and_reason(room, store):
    with room.client("operator") as client:
        assert (
            asked(client, "hours", "stop", reason="clocks are moved").json()["words"]
            == "hours: the remedies are stopped"
        )
        stop = stopped_remedies(store, "hours")
        assert (stop.body["by"], stop.body["reason"]) == ("operator", "clocks are moved")
        row = client.get("/updraft/api/projects/hours").json()
        assert row["stopped"]
        assert "operator stopped the remedies" in " ".join(row["next"])
        assert asked(client, "hours", "stop").json()["words"] == "hours: the remedies are stopped already"
        assert asked(client, "hours", "resume").json()["words"] == "hours: the remedies go on"
    assert stopped_remedies(store, "hours") is None


def test_a_training_is_started_as_airflows_form_does_with_the_reason(room):
    with room.client("operator") as client:
        started = asked(client, "hours", "change", parameters={"max_depth": 3}).json()
        assert started["words"] == "hours.train was started"
        run = client.get(f"/api/v2/dags/hours.train/dagRuns/{started['run']}").json()
    assert run["conf"] == {"parameters": {"max_depth": 3}, "reason": "on call wants it"}
    assert run["triggering_user_name"] == "operator"


def test_a_partition_is_ingested_anew_by_a_run_of_its_key_in_the_persons_name(room):
    with room.client("operator") as client:
        page = client.get(f"/updraft/projects/hours/partitions/{hours.key(100)}").text
        assert 'data-opens="act-ingest"' in page
        started = asked(client, "hours", "ingest", partition=hours.key(100), reason="the feed was mended").json()
        assert started["words"] == f"hours.ingest was started for {hours.key(100)}"
        run = client.get(f"/api/v2/dags/hours.ingest/dagRuns/{started['run']}").json()
        for wrong in ("2020-01-01T0530", "2020-1-1T0500", "yesterday", "2099-01-01T0500"):
            assert asked(client, "hours", "ingest", partition=wrong).status_code == 422, wrong
    assert run["partition_key"] == hours.key(100)
    assert (run["conf"], run["triggering_user_name"]) == ({"reason": "the feed was mended"}, "operator")


def test_what_is_asked_for_must_have_a_reason_and_be_understood(room):
    with room.client("operator") as client:
        assert asked(client, "hours", "stop", reason="").status_code == 422
        assert asked(client, "hours", "stop", reason="  ").status_code == 422
        assert asked(client, "hours", "change", parameters={}).status_code == 422
        assert asked(client, "hours", "stop", more="x").status_code == 422
        assert asked(client, "hours", "readmit", partition=None).status_code == 422
        refused = asked(client, "hours", "readmit")
        assert refused.status_code == 422
        assert "is not kept out" in refused.json()["detail"]


def test_another_site_cannot_act_in_a_persons_name(room, store):
    with room.client("operator") as client:
        assert asked(client, "hours", "stop", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert asked(client, "hours", "stop", headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
        path = "/updraft/api/projects/hours/actions/stop"
        assert client.post(path, content='{"reason": "x"}', headers={"Content-Type": "text/plain"}).status_code == 415
        assert client.post(path, data={"reason": "x"}).status_code == 415
        assert client.get(path).status_code == 405
    assert stopped_remedies(store, "hours") is None


def test_an_approver_answers_airflows_own_question_here(room):
    with room.client("alpha_approver") as client:
        assert asked(client, "alpha", "answer", release="none").status_code == 409
        answered = asked(client, "alpha", "answer", release=MARKED, answer="reject")
        assert answered.status_code == 200, answered.text
        detail = client.get(
            f"/api/v2/dags/alpha.release/dagRuns/{MARKED}/taskInstances/approve_change/-1/hitlDetails"
        ).json()
        assert detail["chosen_options"] == ["Reject"]
        assert asked(client, "alpha", "answer", release=MARKED).status_code == 409


@pytest.fixture
def page(room):
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("no Chromium here: `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.add_cookies([{"name": "_token", "value": room.token("operator"), "url": room.url, "httpOnly": True}])
        tab = context.new_page()
        tab.set_default_timeout(PATIENCE)
        tab.problems = []
        tab.on("console", lambda message: tab.problems.append(message.text) if message.type == "error" else None)
        tab.on(
            "request",
            lambda request: tab.problems.append(request.url) if not request.url.startswith(room.url) else None,
        )
        yield tab
        browser.close()


def unreadable(tab):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab).response["violations"]
    return [(violation["id"], violation["nodes"][0]["html"][:200]) for violation in found]


def test_a_person_stops_the_remedies_in_a_browser_and_every_page_is_readable(room, page, store):
    page.goto(f"{room.url}/updraft/fleet")
    page.get_by_role("link", name="hours", exact=True).click()
    page.get_by_role("button", name="Stop remedies").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("the meters are changed")
    dialog.get_by_role("button", name="Stop remedies").click()
    page.get_by_role("button", name="Resume remedies").wait_for()
    assert stopped_remedies(store, "hours").body["reason"] == "the meters are changed"
    # The chart's marker has the same words, hidden until somebody points at it.
    page.get_by_text("stopped the remedies (by operator): the meters are changed").filter(visible=True).first.wait_for()
    page.get_by_role("button", name="Resume remedies").click()
    dialog.get_by_label("Reason").fill("they are changed")
    dialog.get_by_role("button", name="Resume remedies").click()
    page.get_by_role("button", name="Stop remedies").wait_for()
    project = page.url
    for path in ("", "versions/1", f"partitions/{hours.key(100)}", "releases/hours-v4"):
        page.goto(f"{project}/{path}".rstrip("/"))
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert unreadable(page) == [], (path, scheme)
        page.set_viewport_size({"width": 390, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is wider than a phone"
        page.set_viewport_size({"width": 1280, "height": 900})
    assert page.problems == []


def test_the_control_room_stands_in_airflows_navigation(room, page):
    page.goto(f"{room.url}/")
    page.get_by_text("Updraft", exact=True).first.click()
    page.frame_locator("iframe").get_by_role("link", name="hours", exact=True).wait_for()


def test_the_fleet_is_as_wide_as_the_page_that_airflow_gives_it(room, page):
    page.set_viewport_size({"width": 1280 - 72, "height": 900})  # beside the navigation
    page.goto(f"{room.url}/updraft/fleet")
    table = page.locator("table.fleet")
    table.wait_for()
    assert table.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth")
