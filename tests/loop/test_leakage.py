"""Nothing is learnt from features that hold the answer: a training is refused with their names and the mend; clean data are learnt from."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.made_project import MadeProject
from typer.testing import CliRunner

from updraft.cli.main import app
from updraft.errors import TrainingError
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.loop.train import prepare
from updraft.spec.load import load_project
from updraft.store.store import Store

DAYS, ROWS = 5, 300


class Shop(MadeProject):
    """The same with more rows a day, noise, and a column that may leak."""

    def write_day(self, day, late=None, extra=lambda late, day, n: 0):
        rng = np.random.default_rng(day)
        lines = ["id,at,shop,amount,late,extra"]
        for n in range(ROWS):
            amount = rng.normal()
            late = int(amount + rng.normal() > 0.5)
            at = f"2024-01-{day:02}T{n // 60:02}:{n % 60:02}:00Z"
            lines.append(f"{self.key(day, n)},{at},{'abc'[n % 3]},{amount:.6f},{late},{extra(late, day, n)}")
        self.file(day).write_text("\n".join([*lines, ""]))

    key = staticmethod(lambda day, n: 1000 * day + n)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    made = Shop(tmp_path, DAYS)
    (made.folder / "features.py").write_text("def features(rows):\n    return rows[['amount', 'shop', 'extra']]\n")
    return made


def train(made):
    store = Store.in_memory()
    loop = Loop(load_project(made.folder), made.settings, store, KeptModels())
    for day in range(1, DAYS + 1):
        ingest(loop, f"2024-01-{day + 1:02}T0000")
    try:
        return prepare(loop, "by-hand", None)
    finally:
        store.close()


def leaking(made, extra):
    for day in range(1, DAYS + 1):
        made.write_day(day, extra=extra)


def test_clean_features_are_learnt_from(shop):
    assert train(shop).endswith("request.json")


def test_a_copy_of_the_target_is_refused_by_name_in_validate_and_before_a_training(shop):
    leaking(shop, lambda late, day, n: 5 - 2 * late)
    with pytest.raises(TrainingError, match=r"'extra' tells the label alone .*data\.outcomes"):
        train(shop)
    done = CliRunner().invoke(app, ["validate", "shop"])
    assert done.exit_code == 2
    assert "'extra' tells the label alone" in done.stdout
    shop.write(lambda spec: spec["data"].update(not_leaks=["extra"]))
    assert "'extra'" not in CliRunner().invoke(app, ["validate", "shop"]).stdout


def test_what_is_known_only_later_is_refused(shop):
    shop.write(lambda spec: spec["data"]["label"].update(matures_after="1d"))
    leaking(shop, lambda late, day, n: "" if day == DAYS else f"{n % 11}")
    with pytest.raises(TrainingError, match="'extra' is missing where the label is not known yet"):
        train(shop)


def test_a_weekday_is_learnt_from_although_the_newest_day_has_one_alone(shop):
    shop.write(lambda spec: spec["data"]["label"].update(matures_after="1d"))
    leaking(shop, lambda late, day, n: day % 7)
    assert train(shop).endswith("request.json")


def test_a_holdout_whose_rows_were_learnt_from_is_refused(shop):
    shop.key = lambda day, n: n
    rows = shop.file(1).read_text()
    for day in range(1, DAYS + 1):
        shop.file(day).write_text(rows.replace("2024-01-01", f"2024-01-{day:02}"))
    with pytest.raises(TrainingError, match="of the holdout stand in the rest of the window as they are"):
        train(shop)


def test_times_after_the_rows_own_are_refused_in_validate(shop):
    leaking(shop, lambda late, day, n: f"2024-02-{day:02}T00:00:00Z")
    done = CliRunner().invoke(app, ["validate", "shop"])
    assert done.exit_code == 2
    assert "'extra' lies after the row's own time" in done.stdout
