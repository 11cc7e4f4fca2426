"""The pseudonym key is rotated: labels of both keys find their rows, persons are found under either, and the old key is destroyed in its time."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest
from tests.support.made_project import MadeProject

from updraft import files
from updraft.data.columns import PARTITION, ROW
from updraft.data.key_ring import COPIED, deployment_key, key_file, key_ring
from updraft.data.privacy import Pseudonymiser
from updraft.errors import DataError, InputError, SettingsError
from updraft.loop import rotating
from updraft.loop.context import Loop, labels_of
from updraft.loop.forgetting import forget
from updraft.loop.forgotten import FORGET
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.loop.rotated import DESTROY, ROTATE, keys_of, rotations
from updraft.loop.rotating import destroy_old_keys, plan_rotation, rotate
from updraft.store.store import Store

DAYS = 7
KEYS = [f"2024-01-{day:02}T0000" for day in range(2, DAYS + 2)]
PERSON = "person-number-7"


def write(made, day, without=()):
    """Each of twenty persons has three orders a day; a person is a part of an order's key."""
    lines = ["order,id,at,shop,amount,late"]
    lines += [
        f"{day}-{n},person-number-{n % 20},2024-01-{day:02}T{n % 24:02}:{n // 24:02}:00Z,{'abc'[n % 3]},{n % 7},{n % 2}"
        for n in range(60)
        if f"person-number-{n % 20}" not in without
    ]
    made.file(day).write_text("\n".join([*lines, ""]))


@pytest.fixture
def made(tmp_path):
    project = MadeProject(tmp_path, DAYS)

    def private(spec):
        spec["data"].update(private=["id"], key=["order", "id"])
        spec["data"]["label"]["matures_after"] = "30h"
        spec["data"]["sources"]["orders"]["url"] = f"file://{tmp_path}/orders.csv"
        spec["privacy"] = {"rotation": {"both_for": "3d"}}

    project.write(private)
    for day in range(1, DAYS + 1):
        write(project, day)
    whole = pd.concat([pd.read_csv(project.file(day)) for day in range(1, DAYS + 1)])
    whole.to_csv(tmp_path / "orders.csv", index=False)
    return project


@pytest.fixture
def loop(made):
    store = Store.in_memory()
    yield Loop(made.project, made.settings, store, KeptModels())
    store.close()


def rows_of(loop, key):
    row = loop.published(key)
    return files.read_parquet(str(row.url), row.sha256)


def pseudonyms(loop, key):
    return set(rows_of(loop, key)["id"])


def rotated(loop, **options):
    return rotate(loop, by="ann", reason="once a year", **options)


def test_labels_that_mature_after_the_rotation_find_the_rows_of_the_old_key(loop):
    for key in KEYS[:2]:
        ingest(loop, key)
    assert rotated(loop).since == KEYS[2]
    for key in KEYS[2:]:
        row = ingest(loop, key)
        assert row.checks["labels"]["without_row"] == 0
    assert pseudonyms(loop, KEYS[0]) == pseudonyms(loop, KEYS[1])
    assert pseudonyms(loop, KEYS[2]) == pseudonyms(loop, KEYS[4])
    assert not pseudonyms(loop, KEYS[1]) & pseudonyms(loop, KEYS[2])
    recorded = [loop.store.partition(loop.name, key).checks["pseudonym_key"] for key in KEYS[:4]]
    assert recorded[0] == recorded[1] != recorded[2] == recorded[3]
    for key in KEYS[:4]:  # each row has its label, of whichever key
        labels = labels_of(key, loop.label_files([key], KEYS[-1])[key])
        assert set(labels[ROW]) == set(rows_of(loop, key)[ROW])
    row = loop.store.partition(loop.name, KEYS[2])
    of_both = files.read_parquet(row.labels_url, row.labels_sha256)[PARTITION].unique()
    assert set(of_both) <= {KEYS[0], KEYS[1]}
    again = ingest(loop, KEYS[1])  # published anew after the rotation, a partition keeps its key
    assert again.sha256 == loop.store.partition(loop.name, KEYS[1]).sha256
    assert loop.store.verify_chain(loop.name) == 1


def test_one_tick_publishes_labels_of_rows_of_both_keys(loop, made):
    """Labels that take a day and a half to mature come at one tick from two partitions, of which one has each key."""
    for key in KEYS[:2]:
        ingest(loop, key)
    rotated(loop)
    for key in KEYS[2:4]:
        ingest(loop, key)
    row = loop.store.partition(loop.name, KEYS[3])
    labels = files.read_parquet(row.labels_url, row.labels_sha256)
    assert set(labels[PARTITION]) == {KEYS[1], KEYS[2]}
    for key, of_key in labels.groupby(PARTITION):
        assert set(of_key[ROW]) <= set(rows_of(loop, key)[ROW])


def test_partitions_of_both_keys_can_be_joined_until_the_old_one_is_destroyed(loop):
    for key in KEYS[:2]:
        ingest(loop, key)
    old = keys_of(loop).newest.key_id
    rotated(loop)
    ingest(loop, KEYS[2])
    pairs = files.read_parquet(loop.lake.pseudonym_pairs(old, KEYS[2]))
    assert set(pairs["column"]) == {"id"}
    assert set(pairs["before"]) == pseudonyms(loop, KEYS[1])
    assert set(pairs["after"]) == pseudonyms(loop, KEYS[2])


def test_after_a_leak_nothing_leads_from_the_old_pseudonyms_to_the_new_ones(loop):
    for key in KEYS[:2]:
        ingest(loop, key)
    rotated(loop, leaked=True)
    ingest(loop, KEYS[2])
    assert not (files.local_path(loop.lake.url) / "pseudonyms").exists()


def test_a_person_is_forgotten_under_either_key_and_comes_in_no_more(loop, made):
    for key in KEYS[:2]:
        ingest(loop, key)
    rotated(loop)
    for key in KEYS[2:4]:
        ingest(loop, key)
    ring = keys_of(loop)
    of_person = {pseudonyms_of.pseudonym("id", PERSON) for pseudonyms_of in ring.all}
    assert len(of_person) == 2
    told = forget(loop, "id", [PERSON], by="ann", reason="on request")
    assert (told.partitions, told.rows) == (tuple(KEYS[:4]), 12)
    for key in KEYS[:4]:
        assert not pseudonyms(loop, key) & of_person
    pairs = files.read_parquet(loop.lake.pseudonym_pairs(ring.all[0].key_id, KEYS[2]))
    assert len(pairs) == 19
    assert not {*pairs["before"], *pairs["after"]} & of_person
    for key in KEYS[4:]:  # also after the key is destroyed under which he was forgotten: marks have a key of their own
        ingest(loop, key)
        destroy_old_keys(loop)
        assert not pseudonyms(loop, key) & of_person
        assert len(rows_of(loop, key)) == 57


def test_the_old_key_is_destroyed_when_its_time_is_over_and_not_before(loop, made):
    for key in KEYS[:2]:
        ingest(loop, key)
    old = made.settings.keys / "pseudonym.key"
    before = old.read_bytes()
    loop.notes.write("a", 1)
    rotated(loop)
    for key in KEYS[2:5]:
        ingest(loop, key)
        assert destroy_old_keys(loop) == []
    assert old.read_bytes() == before
    ingest(loop, KEYS[5])
    (words,) = destroy_old_keys(loop)
    assert "is destroyed" in words
    assert not any(before in path.read_bytes() for path in made.root.rglob("*") if path.is_file())
    assert files.names_below(loop.lake.at("pseudonyms")) == []
    assert destroy_old_keys(loop) == []
    assert Loop(made.project, made.settings, loop.store, KeptModels()).notes.read("a") == 1
    ingest(loop, KEYS[6])
    assert loop.store.partition(loop.name, KEYS[6]).checks["labels"]["without_row"] == 0
    with pytest.raises(DataError, match=f"partition {KEYS[0]} was published with pseudonym key .* which is destroyed"):
        ingest(loop, KEYS[0])
    labels = loop.store.partition(loop.name, KEYS[2]).labels_sha256
    with pytest.raises(DataError, match=f"at the tick of {KEYS[2]} labels of {KEYS[0]} matured, whose pseudonym key"):
        ingest(loop, KEYS[2])
    assert loop.store.partition(loop.name, KEYS[2]).labels_sha256 == labels
    assert [decision.kind for decision in loop.store.decisions(loop.name)] == [ROTATE, DESTROY]


def test_labels_that_mature_late_keep_the_old_key(loop, made):
    made.write(lambda spec: spec["privacy"]["rotation"].update(both_for="0s"))
    loop = Loop(made.project, made.settings, loop.store, KeptModels())
    for key in KEYS[:2]:
        ingest(loop, key)
    assert plan_rotation(loop).both_for == timedelta(hours=30)


def test_the_deployments_key_stays_while_another_project_needs_it(loop, made):
    other = made.folder.parent / "other"
    other.mkdir()
    (other / "features.py").write_text((made.folder / "features.py").read_text())
    (other / "project.yaml").write_text(
        (made.folder / "project.yaml").read_text().replace("name: shop", "name: other", 1)
    )
    for key in KEYS[:2]:
        ingest(loop, key)
    rotated(loop)
    for key in KEYS[2:6]:
        ingest(loop, key)
    assert destroy_old_keys(loop) == []
    assert loop.store.decision(loop.name, DESTROY, "1") is not None
    assert (made.settings.keys / "pseudonym.key").exists()
    body = {"before": "a", "after": "b", "number": 1}
    loop.store.decide("other", key=KEYS[0], kind=DESTROY, subject="1", body=body)
    assert len(destroy_old_keys(loop)) == 1


def test_a_person_whom_an_earlier_updraft_forgot_stays_forgotten_and_keeps_the_key(loop, made):
    """Its marks were made with the deployment's key itself, which only that key can make again."""
    ingest(loop, KEYS[0])
    earlier = Pseudonymiser(deployment_key(made.settings), loop.name)
    mark = earlier.pseudonym("\x1fforgotten by id", PERSON)
    body = {"column": "id", "mark": mark, "by": "ann", "reason": "on request"}
    loop.store.decide(loop.name, key=KEYS[0], kind=FORGET, subject=f"id {mark}", body=body)
    assert len(rows_of(loop, KEYS[0])) == 60
    ingest(loop, KEYS[1])
    rotated(loop)
    for key in KEYS[2:6]:
        ingest(loop, key)
        assert destroy_old_keys(loop) == []
        assert len(rows_of(loop, key)) == 57
    assert len(rows_of(loop, KEYS[1])) == 57
    assert loop.store.decision(loop.name, DESTROY, "1") is not None
    assert (made.settings.keys / "pseudonym.key").exists()


def test_in_a_container_a_key_is_mounted_before_it_is_rotated_to_and_none_is_destroyed(loop, made):
    for key in KEYS[:2]:
        ingest(loop, key)
    (made.settings.keys / COPIED).touch()
    with pytest.raises(
        SettingsError, match=r"pseudonym.shop.1.key: this container has a copy of the deployment's keys"
    ):
        rotated(loop)
    assert loop.store.decisions(loop.name) == []
    key_file(loop.name, made.settings, 1).write_bytes(b"k" * 32)
    rotated(loop)
    for key in KEYS[2:6]:
        ingest(loop, key)
    assert destroy_old_keys(loop) == []
    assert rotations(loop)[0].destroyed
    assert (made.settings.keys / "pseudonym.key").exists()
    assert loop.store.partition(loop.name, ingest(loop, KEYS[6]).key).state == "published"


def test_features_of_pseudonyms_are_refused_by_name(loop, made):
    (made.folder / "features.py").write_text(
        "def features(rows):\n    many = rows.groupby('id')['id'].transform('size')\n"
        "    return rows[['amount', 'shop']].assign(many=many, who=rows['id'])\n"
    )
    ingest(loop, KEYS[0])
    with pytest.raises(InputError, match=r"shop: who: these features change.*--features-change"):
        rotated(loop)
    assert loop.store.decisions(loop.name) == []
    assert rotated(loop, features_change=True).features == ("who",)


def test_there_may_be_nothing_to_rotate(loop, made):
    with pytest.raises(InputError, match="no partition is ingested yet"):
        rotated(loop)
    for key in KEYS:
        ingest(loop, key)
    with pytest.raises(InputError, match="no partition comes after"):
        rotated(loop)
    made.write(lambda spec: spec["data"].update(private=[]))
    with pytest.raises(InputError, match="no column is private"):
        rotated(Loop(made.project, made.settings, loop.store, KeptModels()))


class Killed(BaseException):
    """Ends a process where it stands."""


def killed(*_, **__):
    raise Killed


def test_killed_before_the_decision_nothing_has_changed_and_the_key_is_taken_up(loop, made, monkeypatch):
    ingest(loop, KEYS[0])
    before = keys_of(loop).newest.key_id
    with monkeypatch.context() as patch:
        patch.setattr(type(loop.store), "decide", killed)
        with pytest.raises(Killed):
            rotated(loop)
    assert keys_of(loop).newest.key_id == before
    made_key = key_file(loop.name, made.settings, 1).read_bytes()
    assert ingest(loop, KEYS[1]).checks["pseudonym_key"] == before
    rotated(loop)
    assert key_file(loop.name, made.settings, 1).read_bytes() == made_key
    assert keys_of(loop).newest.key_id != before


@pytest.mark.parametrize("at", ["_destroy", "keep_derived_keys", "files.remove"])
def test_killed_while_it_destroys_a_key_the_next_maintenance_goes_on(at, loop, made, monkeypatch):
    for key in KEYS[:2]:
        ingest(loop, key)
    rotated(loop)
    for key in KEYS[2:6]:
        ingest(loop, key)
    with monkeypatch.context() as patch:
        patch.setattr(f"updraft.loop.rotating.{at}", killed)
        with pytest.raises(Killed):
            destroy_old_keys(loop)
    assert rotations(loop)[0].destroyed  # what counts is the decision
    assert len(destroy_old_keys(loop)) == 1
    assert not (made.settings.keys / "pseudonym.key").exists()
    assert ingest(loop, KEYS[6]).rows == 60


def test_a_second_rotation_destroys_the_first_ones_key(loop, made):
    made.write(lambda spec: spec["privacy"]["rotation"].update(both_for="1d"))
    loop = Loop(made.project, made.settings, loop.store, KeptModels())
    ingest(loop, KEYS[0])
    rotated(loop)
    ingest(loop, KEYS[1])
    rotated(loop)
    ingest(loop, KEYS[2])
    assert len(keys_of(loop).all) == 3
    seen = [pseudonyms(loop, key) for key in KEYS[:3]]
    assert not seen[0] & seen[1] | seen[1] & seen[2] | seen[0] & seen[2]
    for key in KEYS[3:]:
        ingest(loop, key)
        destroy_old_keys(loop)
    assert not key_file(loop.name, made.settings, 1).exists()
    assert keys_of(loop).newest.key_id == rotations(loop)[-1].after


def test_a_rotated_key_that_is_lost_or_another_is_refused(loop, made):
    ingest(loop, KEYS[0])
    rotated(loop)
    path = key_file(loop.name, made.settings, 1)
    kept = path.read_bytes()
    path.write_bytes(b"k" * 32)
    with pytest.raises(SettingsError, match=r"pseudonym.shop.1.key is key .*restore that key"):
        ingest(loop, KEYS[1])
    path.unlink()
    with pytest.raises(SettingsError, match=r"pseudonym.shop.1.key cannot be read.*restore it"):
        ingest(loop, KEYS[1])
    path.write_bytes(kept)
    assert ingest(loop, KEYS[1]).state == "published"
    assert key_ring(made.project, made.settings).newest.key_id == rotations(loop)[0].before


def test_a_partition_that_was_validated_before_is_validated_again(loop):
    from updraft.loop.ingest import extract, publish, validate

    ingest(loop, KEYS[0])
    extract(loop, KEYS[1])
    validate(loop, KEYS[1])
    rotated(loop)
    with pytest.raises(DataError, match=r"the pseudonym key was rotated after partition .* was validated; validate it"):
        publish(loop, KEYS[1])
    validate(loop, KEYS[1])
    assert publish(loop, KEYS[1]).state == "published"
    assert rotating.plan_rotation(loop).since == KEYS[2]
