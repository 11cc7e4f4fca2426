"""``make pictures``: take the README's pictures of the control room with Chromium, from a demo that is up.

Light, at 1280 pixels, as the replay left the pages: fleet, project, and the release that has the most evidence.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from updraft.airflow_api import get
from updraft.errors import UpdraftError
from updraft.pages.rooms import Place
from updraft.settings import Settings
from updraft.stack.access import ADMIN, sign_in
from updraft.stack.layout import Layout
from updraft.store.store import Store

PICTURES = Path(__file__).parents[2] / "docs"
PROJECT = "flight_delays"
WIDTH = 1280
HIGHEST = {"fleet": 900, "project": 1425, "release": 1300}
"""Pixels of each page that are shown, from its top."""
COLOURS = 128
"""Enough for lines, letters and flat areas; a third of the bytes."""
PATIENCE = 120_000
"""Milliseconds for a page."""


def main(env: Mapping[str, str], folder: Path = PICTURES) -> int:
    """Take the pictures; 1 when there is nothing to take them of, said in a line."""
    settings = Settings.from_env(env)
    if not settings.airflow or get(f"{settings.airflow}/api/v2/version") is None:
        return _told("no demo is up: `make demo` starts one, and leaves it running")
    store = Store.open(settings.need_store())
    try:
        release = release_with_most_evidence(store, PROJECT)
    finally:
        store.close()
    if release is None:
        return _told(f"{PROJECT} has had no release yet: let `make demo` end")
    place = Place(root=f"{settings.airflow}/updraft")
    pages = {
        "project": place.project(PROJECT),
        "release": place.release(PROJECT, release),
        "fleet": f"{place.root}/fleet",
    }
    token = sign_in(Layout.of(settings), settings.airflow, ADMIN, lasts=900).token
    for name, png in _pictures(pages, settings.airflow, token).items():
        path = folder / f"{name}.png"
        path.write_bytes(_in_few_colours(png))
        sys.stdout.write(f"{path}: {path.stat().st_size / 1024:.0f} kB\n")
    return 0


def release_with_most_evidence(store: Store, project: str) -> str | None:
    """Id of the release whose page has most to show: a change before a refresh; None where there is none."""
    releases = store.releases(project)
    if not releases:
        return None
    return max(releases, key=lambda row: (row.lane == "change", len(store.evidence(project, row.id)))).id


def _pictures(pages: Mapping[str, str], airflow: str, token: str) -> dict[str, bytes]:
    """PNGs by the name of the page, from its top on."""
    from playwright.sync_api import sync_playwright

    installed = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
    taken = {}
    with sync_playwright() as playwright:
        # Without one that the system has, Playwright's own: `playwright install chromium`.
        browser = playwright.chromium.launch(executable_path=installed, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        context.add_cookies([{"name": "_token", "value": token, "url": airflow, "httpOnly": True}])
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(pages["fleet"])  # a row that was read some time ago is shown once more, and read anew beside
        for name, url in pages.items():
            page.goto(url, wait_until="networkidle")
            page.evaluate("scrollTo(0, 0)")
            end = page.evaluate("document.querySelector('main').getBoundingClientRect().bottom")
            page.set_viewport_size({"width": WIDTH, "height": min(int(end), HIGHEST[name])})
            taken[name] = page.screenshot()
        browser.close()
    return taken


def _in_few_colours(png: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        smaller = picture.convert("RGB").quantize(COLOURS)
    packed = io.BytesIO()
    smaller.save(packed, format="PNG", optimize=True)
    return packed.getvalue()


def _told(words: str) -> int:
    sys.stderr.write(f"{words}\n")
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(os.environ))
    except UpdraftError as error:
        sys.exit(_told(str(error)))
