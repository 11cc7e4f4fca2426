"""What a person finds in the Airflow UI, in a real browser."""

from __future__ import annotations

import json
import shutil
import time
from urllib.parse import quote

import pytest
from tests.support.replay import client

CHROMIUM = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800, func_only=True),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: `apt-get install chromium`"),
]
PATIENCE = 60_000  # milliseconds


@pytest.fixture
def page(stack):
    from playwright.sync_api import sync_playwright

    password = json.loads(stack.layout.airflow_passwords.read_text())["admin"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        found = browser.new_page(viewport={"width": 1500, "height": 1000})
        found.set_default_timeout(PATIENCE)
        found.goto(stack.settings.airflow)
        found.locator("input[name=username]").fill("admin")
        found.locator("input[name=password]").fill(password)
        found.locator("[type=submit]").first.click()
        found.wait_for_url(lambda url: "login" not in url)
        yield found
        browser.close()


def test_each_stage_has_its_dag(stack, calm, page):
    page.goto(f"{stack.settings.airflow}/dags?name_pattern=calm")
    for stage in ("ingest", "score", "monitor", "watch", "train", "release"):
        page.get_by_role("link", name=f"calm.{stage}", exact=True).first.wait_for()


def test_a_run_has_its_partition_key_and_a_dag_its_docs(stack, calm, page):
    body = {"dag_ids": ["calm.monitor"], "states": ["success"], "page_limit": 1}
    [run] = client(stack, "admin").call("POST", "/dags/~/dagRuns/list", body)["dag_runs"]
    page.goto(f"{stack.settings.airflow}/dags/calm.monitor/runs/{quote(run['dag_run_id'], safe='')}")
    page.get_by_text("Partition Key").first.wait_for()
    page.get_by_text(run["partition_key"], exact=True).first.wait_for()
    page.goto(f"{stack.settings.airflow}/dags/calm.monitor")
    page.get_by_role("button", name="Dag Docs").first.click()
    page.get_by_text("When it fails").first.wait_for()


def test_train_is_started_by_a_form(stack, calm, page):
    page.goto(f"{stack.settings.airflow}/dags/calm.train")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    for field in ("Partition", "Trainer", "Parameters that differ", "Reason"):
        form.get_by_text(field).first.wait_for()
    assert form.get_by_role("button", name="Trigger", exact=True).is_enabled()  # nothing has to be filled in
    form.get_by_role("button", name="Trigger", exact=True).click()
    form.wait_for(state="hidden")
    api, deadline = client(stack, "admin"), time.monotonic() + 180
    body = {"dag_ids": ["calm.train"], "order_by": "-run_after", "page_limit": 1}
    while (run := api.call("POST", "/dags/~/dagRuns/list", body)["dag_runs"][0])["state"] in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert (run["run_type"], run["state"]) == ("manual", "success")


def test_a_link_to_mlflow_asks_who_comes_and_then_lands_on_the_page(stack, calm):
    from playwright.sync_api import Error, sync_playwright

    runs = client(stack, "admin").call("GET", "/dags/calm.train/dagRuns?limit=1")["dag_runs"]
    task = f"/dags/calm.train/dagRuns/{quote(runs[0]['dag_run_id'], safe='')}/taskInstances"
    links = client(stack, "admin").call("GET", f"{task}/register_model/links")["extra_links"]
    link = links["Model version"]
    password = json.loads(stack.layout.airflow_passwords.read_text())["admin"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        stranger = browser.new_page()
        with pytest.raises(Error, match="INVALID_AUTH_CREDENTIALS"):  # what a browser without a person makes of it
            stranger.goto(link, timeout=PATIENCE)
        person = browser.new_context(http_credentials={"username": "admin", "password": password}).new_page()
        refused = []
        person.on("response", lambda response: refused.append(response.url) if response.status in (401, 403) else None)
        person.goto(link, timeout=PATIENCE)
        person.get_by_text("calm").first.wait_for(timeout=PATIENCE)
        assert link.split("#")[1].split("?")[0] in person.url
        assert refused == []
        browser.close()
