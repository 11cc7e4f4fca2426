"""A partition is recorded when all of it is there: its rows, its features, their profile."""

from __future__ import annotations

import shutil

import pytest
from tests.support import flights

from updraft.data.ingest import extract_partition
from updraft.errors import DataError
from updraft.loop.ingest import publish, validate
from updraft.spec.load import load_project

KEY = "2013-01-07T0500"
RAISES = "def features(rows):\n    raise ValueError('a bug in the feature function')\n"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(flights.PROJECTS / "flight_delays", tmp_path / "projects" / "flight_delays")


def test_a_feature_function_that_raises_leaves_no_published_row_and_mending_it_is_enough(folder, tmp_path):
    sound = (folder / "features.py").read_text()
    (folder / "features.py").write_text(RAISES)
    loop, _ = flights.fresh_loop(tmp_path, load_project(folder))
    extract_partition(loop.project, loop.settings, KEY)
    validate(loop, KEY)
    with pytest.raises(DataError, match="a bug in the feature function"):
        publish(loop, KEY)
    assert loop.store.partition(loop.name, KEY) is None

    (folder / "features.py").write_text(sound)
    mended, _ = flights.fresh_loop(tmp_path, load_project(folder))
    row = publish(mended, KEY)
    assert row.state == "published"
    kept = mended.store.partition(mended.name, KEY)
    assert (kept.state, kept.sha256) == ("published", row.sha256)
    assert kept.profile == row.profile
    assert {"carrier", "temp"} <= {each for part in kept.profile.values() if isinstance(part, dict) for each in part}


def test_what_was_published_stays_whole_when_the_feature_function_breaks_later(folder, tmp_path):
    loop, _ = flights.fresh_loop(tmp_path, load_project(folder))
    extract_partition(loop.project, loop.settings, KEY)
    validate(loop, KEY)
    before = publish(loop, KEY)
    (folder / "features.py").write_text(RAISES)
    broken = type(loop)(load_project(folder), loop.settings, loop.store, loop.models)
    with pytest.raises(DataError):
        publish(broken, KEY)
    kept = loop.store.partition(loop.name, KEY)
    assert (kept.state, kept.sha256, kept.profile) == ("published", before.sha256, before.profile)


DUMMIES = (
    "import pandas as pd\n\ndef features(rows):\n    return pd.get_dummies(rows[['dest']].astype(str), dtype=int)\n"
)
TURNS = "def features(rows):\n    late = rows['day'].astype(int).max() > 10\n    return rows[['day']].astype(int if late else str)\n"


@pytest.mark.parametrize(
    ("features", "says"),
    [
        (
            DUMMIES,
            r"partition 2013-01-14T0500: features\(\) gives other columns than for partition 2013-01-07T0500: 'dest_",
        ),
        (
            TURNS,
            r"partition 2013-01-14T0500: features\(\) gives 'day' as a number, and for partition 2013-01-07T0500 as text",
        ),
    ],
)
def test_features_that_depend_on_the_rows_are_refused_where_they_are_made(folder, tmp_path, features, says):
    (folder / "features.py").write_text(features)
    loop, _ = flights.fresh_loop(tmp_path, load_project(folder))
    for key in (KEY, "2013-01-14T0500"):
        extract_partition(loop.project, loop.settings, key)
        validate(loop, key)
        if key == KEY:
            publish(loop, key)
    with pytest.raises(DataError, match=says):
        publish(loop, key)
    assert loop.store.partition(loop.name, key) is None
