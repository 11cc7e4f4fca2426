"""A person is forgotten: afterwards no search finds the value, or what stands for it, in anything that Updraft keeps."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from tests.support.made_project import MadeProject

from updraft import files
from updraft.data.columns import MARGIN, ROW, SCORE
from updraft.data.snapshots import load_snapshot, take_snapshot
from updraft.errors import InputError
from updraft.loop import forgetting
from updraft.loop.context import Loop
from updraft.loop.forgetting import forget
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.loop.rotated import keys_of
from updraft.spec.load import load_project
from updraft.store import tables
from updraft.store.records import PredictionRow, TrainingRow
from updraft.store.store import Store

FIRST, SECOND, THIRD = KEYS = [f"2024-01-{day:02}T0000" for day in (2, 3, 4)]
PERSON, OTHER = "person-number-7", "person-number-8"
RULES = "orders:\n  rows:\n    - {expect: column_values_to_be_between, column: amount, min_value: 0}\n"


def write(made, day, without=()):
    """Each of twenty persons has three orders a day, of which one breaks the contract now and then."""
    lines = ["order,id,at,shop,amount,late"]
    for n in range(60):
        person = f"person-number-{n % 20}"
        amount = -1 if n in (7, 31) and day < 3 else n % 7
        if person not in without:
            lines.append(
                f"{day}-{n},{person},2024-01-{day:02}T{n % 24:02}:{n // 24:02}:00Z,{'abc'[n % 3]},{amount},{n % 2}"
            )
    made.file(day).write_text("\n".join([*lines, ""]))


@pytest.fixture
def made(tmp_path):
    project = MadeProject(tmp_path, 3)
    project.write(lambda spec: spec["data"].update(private=["id"], key=["order"], refuse_above=0.2))
    (project.folder / "expectations.yaml").write_text(RULES)
    for day in (1, 2, 3):
        write(project, day)
    return project


@pytest.fixture
def loop(made):
    store = Store.in_memory()
    opened = Loop(load_project(made.folder), made.settings, store, KeptModels())
    for key in KEYS:
        ingest(opened, key)
        row = store.partition(opened.name, key)
        rows = files.read_parquet(row.url, row.sha256)
        scored = pd.DataFrame({ROW: rows[ROW], MARGIN: np.zeros(len(rows)), SCORE: np.full(len(rows), 0.5)})
        url, sha256 = files.write_parquet_named_by_content(opened.lake.predictions_stem(key, "champion", "1"), scored)
        store.record_predictions(opened.name, PredictionRow(key, "champion", "1", None, url, sha256, len(rows)))
    result = {"window": [FIRST, SECOND]}
    store.record_training(TrainingRow("run", opened.name, SECOND, None, None, "registered", "1", result))
    yield opened
    store.close()


def holding(made, loop, texts):
    """Places of everything that is kept in which one of some texts stands: files as they are and as tables, and the store."""
    places = []
    for path in (made.root / "home").rglob("*"):
        if not path.is_file() or "keys" in path.parts:
            continue
        content = path.read_bytes()
        if content[:4] == b"PAR1":
            content += pd.read_parquet(path).to_csv().encode()
        places += [str(path) for text in texts if text.encode() in content]
    with loop.store.engine.connect() as connection:
        for table in tables.metadata.sorted_tables:
            for row in connection.execute(sa.select(table)).mappings():
                places += [table.name for text in texts if text in json.dumps(dict(row), default=str)]
    return places


def pseudonym(loop, value=PERSON):
    return str(keys_of(loop).newest.pseudonym("id", value))


def forget_person(loop, **options):
    return forget(loop, "id", [PERSON], by="ann", reason="on request", **options)


def snapshot(loop):
    parts = {f"features/{key}.parquet": loop.feature_file(key) for key in (FIRST, SECOND)}
    return take_snapshot(loop.project, loop.settings, name="run", files=parts, record={})


def test_a_dry_run_counts_and_changes_nothing(made, loop):
    before = {path: path.read_bytes() for path in made.root.rglob("*") if path.is_file()}
    told = forget_person(loop, dry_run=True)
    assert (told.partitions, told.rows, told.predictions, told.quarantined) == (tuple(KEYS), 7, 7, 2)
    assert told.labels > 0
    assert told.versions == ("1",)
    assert {path: path.read_bytes() for path in made.root.rglob("*") if path.is_file()} == before
    assert loop.store.decisions(loop.name) == []


def test_after_it_no_search_finds_the_person_and_everybody_else_is_as_before(made, loop):
    taken = snapshot(loop)
    manifest = load_snapshot(taken.url, taken.sha256)
    of_person = {
        row
        for key in KEYS
        for row in files.read_parquet(str(loop.published(key).url)).query(f"id == '{pseudonym(loop)}'")[ROW].astype(str)
    }
    texts = [PERSON, pseudonym(loop), *of_person]
    assert len(holding(made, loop, texts)) > 20
    told = forget_person(loop)
    assert told.rows == 7
    assert holding(made, loop, texts) == []
    for key, rows in zip(KEYS, (56, 56, 57), strict=True):
        row = loop.store.partition(loop.name, key)
        frame = files.read_parquet(row.url, row.sha256)
        assert len(frame) == row.rows == row.profile["rows"]
        assert row.rows == rows
        assert pseudonym(loop, OTHER) in set(frame["id"])
        made_of = loop.store.predictions(loop.name, key)["champion"]
        assert set(files.read_parquet(made_of.url, made_of.sha256)[ROW]) == set(frame[ROW])
        assert len(files.read_parquet(*loop.feature_file(key))) == row.rows
    assert loop.store.verify_chain(loop.name) == len(loop.store.decisions(loop.name))
    hashes = {file["was"] for decision in loop.store.decisions(loop.name) for file in decision.body.get("replaced", ())}
    assert {
        file.sha256 for file in manifest.files.values()
    } <= hashes  # what was learnt from is named by its hash still
    assert PERSON not in json.dumps([decision.body for decision in loop.store.decisions(loop.name)])


def test_who_is_forgotten_comes_in_no_more_whatever_the_source_holds(made, loop):
    forget_person(loop)
    after = loop.store.partition(loop.name, FIRST)
    row = ingest(loop, FIRST)
    assert row.rows == after.rows
    assert pseudonym(loop) not in set(files.read_parquet(row.url, row.sha256)["id"])
    assert holding(made, loop, [PERSON, pseudonym(loop)]) == []
    for day in (1, 2, 3):
        write(made, day, without=(PERSON,))
    for key in KEYS:
        ingest(loop, key)
    assert holding(made, loop, [PERSON, pseudonym(loop)]) == []


@pytest.mark.parametrize("place", ["_scrub_examples", "record_partition"])
def test_killed_half_way_the_same_command_goes_on(made, loop, monkeypatch, place):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        owner = loop.store if place == "record_partition" else forgetting._Forgetting
        patched.setattr(type(owner) if place == "record_partition" else owner, place, killed)
        with pytest.raises(KeyboardInterrupt):
            forget_person(loop)
    told = forget_person(loop)
    assert told.partitions == tuple(KEYS)
    assert told.versions == ("1",)
    assert holding(made, loop, [PERSON, pseudonym(loop)]) == []
    again = forget_person(loop)
    assert (again.rows, again.predictions, again.quarantined) == (0, 0, 0)


def test_a_column_that_is_not_published_is_refused_by_name(loop):
    with pytest.raises(InputError, match="column 'late' is not published"):
        forget(loop, "late", ["1"], by="ann", reason="x")
