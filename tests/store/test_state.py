"""What is kept beside the chain equals what follows from it, whatever is decided, and whoever is killed."""

from __future__ import annotations

import contextlib

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from tests.support import releases

from updraft.errors import StoreError
from updraft.store import migrations, state, tables
from updraft.store.migrations import upgrade
from updraft.store.records import EpisodeRow, IngestedPartition, ReleaseRow
from updraft.store.store import Store
from updraft.store.transitions import open_release

P = "flights"
KEYS = st.integers(1, 4).map(lambda number: f"2013-01-0{number}T0500")
VERSIONS = st.sampled_from(["1", "2", "11"])
CONTENTS = st.sampled_from(["a" * 64, "b" * 64])
LAYERS = st.one_of(st.none(), st.fixed_dictionaries({"intercept": st.floats(-1, 1), "slope": st.floats(0.5, 2)}))
STEPS = st.one_of(
    st.tuples(st.just("promote"), VERSIONS, KEYS),
    st.tuples(st.just("roll_back"), VERSIONS, KEYS),
    st.tuples(st.just("take_back"), VERSIONS, KEYS),
    st.tuples(st.just("reinstate"), VERSIONS, KEYS),
    st.tuples(st.just("recalibrate"), VERSIONS, KEYS, LAYERS),
    st.tuples(st.just("quarantine"), KEYS, CONTENTS),
    st.tuples(st.just("readmit"), KEYS, CONTENTS),
    st.tuples(st.just("ingest"), KEYS, st.sampled_from(["published", "refused", "empty"]), CONTENTS, st.integers(0, 9)),
)


class Killed(Exception):
    """The process ends in the middle of a decision's transaction."""


class Killing:
    """A witness that lets the writer be killed just before it commits."""

    def __init__(self) -> None:
        self.now = False

    def intend(self, decision):
        if self.now:
            raise Killed(decision.subject)

    def confirm(self, decision):
        """Nobody is told."""


def take(store: Store, step: tuple) -> None:
    """Take one step as the loop would; those that the store refuses change nothing."""
    match step:
        case ("promote", version, key):
            row = ReleaseRow(f"{P}-v{version}", P, "refresh", version, None, "shadow", None, None, key, None)
            open_release(store, row)
            with contextlib.suppress(StoreError):
                releases.promoted(store, row.id, key=key, to="probation")
        case ("roll_back", version, key):
            with contextlib.suppress(StoreError):
                releases.rolled_back(store, f"{P}-v{version}", key=key)
        case ("reinstate", version, key):
            body = {"version": version, "previous": store.serving(P).champion, "reason": "", "by": "ann"}
            store.decide(P, key=key, kind="reinstate", subject=f"{P}-v{version}@{store.last_seq(P)}", body=body)
        case ("take_back", version, key):
            body = {"version": version, "previous": store.serving(P).champion or "1", "reason": "", "by": "ann"}
            store.decide(P, key=key, kind="roll_back", subject=f"{P}-v{version}@{store.last_seq(P)}", body=body)
        case ("recalibrate", version, key, layer):
            body = {"version": version, "layer": layer, "reason": ""}
            store.decide(P, key=key, kind="recalibrate", subject=f"{version}@{key}", body=body)
        case ("quarantine", key, content):
            diagnosis = {"words": "broken", "content": content, "signs": [["nulls", "temp"]]}
            store.open_episode(
                EpisodeRow(f"{P}-{key}-{content[:2]}", P, key, "feed", "quarantine", "closed", diagnosis, "broken", key)
            )
        case ("readmit", key, content):
            body = {"partition": key, "by": "ann", "reason": "right", "signs": [["nulls", "temp"]]}
            store.decide(P, key=key, kind="readmit", subject=f"{key}@{content}", body=body)
        case ("ingest", key, kind, content, quarantined):
            store.record_partition(P, IngestedPartition(key, kind, None, content, 9, quarantined, None, {}, None))


def taken_back_by_hand(store: Store) -> dict[str, int]:
    """The versions that a person took back and that no return has brought back since, each with the number of the decision."""
    returns = store.decisions(P, kinds=("roll_back", "reinstate"))
    taken = [(d.body["previous"], d.seq) for d in returns if d.kind == "roll_back" and d.body.get("by")]
    back = [(d.body["version"], d.seq) for d in returns]
    return {
        version: seq for version, seq in taken if not any(other == version and later > seq for other, later in back)
    }


def kept_out_by_hand(store: Store) -> set[str]:
    """The published partitions whose content an episode condemned and no decision readmitted, worked out from everything there is."""
    readmitted = {decision.subject for decision in store.decisions(P, kinds=("readmit",))}
    condemned = {
        (row.opened_at, row.diagnosis["content"])
        for row in store.episodes(P)
        if f"{row.opened_at}@{row.diagnosis['content']}" not in readmitted
    }
    return {row.key for row in store.partitions(P) if (row.key, row.sha256) in condemned}


@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=25))
@example_settings(max_examples=150, deadline=None)
def test_after_any_decisions_the_kept_state_is_the_fold_of_the_chain_even_of_those_that_were_killed(steps):
    store, killing = Store.in_memory(), Killing()
    store.witness = killing
    for step, killed in steps:
        killing.now = killed
        with contextlib.suppress(Killed):
            take(store, step)
        assert store.state_problems(P) == []
    folded = state.fold(store.decisions(P))
    serving = store.serving(P)
    assert serving.champion == (folded.champion.version if folded.champion else None)
    for version, kept in folded.layers.items():
        assert store.layer(P, version) == kept.layer
    for version in ("1", "2", "11"):
        for number in range(1, 6):
            before = f"2013-01-0{number}T0500"
            earlier = [d for d in store.decisions(P, kinds=("recalibrate",)) if d.key < before]
            expected = [d.body["layer"] for d in earlier if d.body["version"] == version]
            assert store.layer(P, version, before=before) == (expected[-1] if expected else None)
    taken = store.taken_back(P, ["1", "2", "11"])
    assert {version: decision.seq for version, decision in taken.items()} == taken_back_by_hand(store)
    for version in ("1", "2", "11"):
        about = [d for d in store.returns(P) if d.subject.partition("@")[0] == f"{P}-v{version}"]
        assert store.returns(P, f"{P}-v{version}") == about
    out = kept_out_by_hand(store)
    assert store.kept_out(P, until="2014") == out
    assert [(row.key, row.signs) for row in store.keeping_out(P, until="2014")] == [
        (key, (("nulls", "temp"),)) for key in sorted(out)
    ]
    assert [row.key for row in store.partitions(P, learnable=True)] == [
        row.key for row in store.partitions(P) if row.key not in out
    ]
    assert store.count_published(P, until="2013-01-03T0500") == len(store.partitions(P, until="2013-01-03T0500"))
    store.close()


def history(store: Store) -> None:
    """Something of everything that is kept."""
    keys = [f"2013-01-0{number}T0500" for number in range(1, 6)]
    for number, key in enumerate(keys):
        take(store, ("ingest", key, "refused" if number == 3 else "published", "a" * 64, number))
    take(store, ("promote", "1", keys[0]))
    take(store, ("recalibrate", "1", keys[1], {"intercept": 0.25, "slope": 1.5}))
    take(store, ("promote", "2", keys[2]))
    take(store, ("recalibrate", "2", keys[2], None))
    take(store, ("roll_back", "2", keys[3]))
    take(store, ("promote", "11", keys[3]))
    take(store, ("take_back", "1", keys[3]))
    for key in keys[:2]:
        take(store, ("quarantine", key, "a" * 64))
    take(store, ("readmit", keys[0], "a" * 64))


@pytest.fixture
def deployed(postgres_url):
    upgrade(postgres_url)
    store = Store.open(postgres_url)
    yield store
    store.close()


def config(url: str) -> Config:
    made = Config()
    made.set_main_option("script_location", migrations.__path__[0])
    made.attributes["url"] = url
    return made


def test_the_migration_fills_what_is_kept_for_a_store_that_has_a_chain_already(deployed, postgres_url):
    history(deployed)
    kept = {
        name: deployed._rows(sa.select(tables.metadata.tables[name]))
        for name in ("serving", "layers", "taken_back", "partition_counts")
    }
    episodes = deployed._rows(sa.select(tables.episodes).order_by(tables.episodes.c.id))
    assert [(row["content"], row["readmitted"] is not None) for row in episodes] == [
        ("a" * 64, True),
        ("a" * 64, False),
    ]
    command.downgrade(config(postgres_url), "0002")
    assert not sa.inspect(deployed.engine).has_table("serving")
    upgrade(postgres_url)
    for name, rows in kept.items():
        filled = deployed._rows(sa.select(tables.metadata.tables[name]))
        assert sorted(map(str, filled)) == sorted(map(str, rows)), name
    assert deployed._rows(sa.select(tables.episodes).order_by(tables.episodes.c.id)) == episodes
    assert deployed.state_problems(P) == []
    assert deployed.layer(P, "1") == {"intercept": 0.25, "slope": 1.5}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (sa.update(tables.serving).values(champion="2"), "what serves is kept as .*version='2'.* say .*version='1'"),
        (sa.delete(tables.serving), "what serves is kept as nothing"),
        (sa.update(tables.layers).where(tables.layers.c.version == "1").values(layer=None), "the layer of version 1"),
        (sa.delete(tables.layers).where(tables.layers.c.version == "2"), "the layer of version 2 is kept as None"),
        (sa.delete(tables.taken_back), "version 11 is kept as not taken back, and the decisions say taken back by"),
        (sa.update(tables.taken_back).values(version="1"), "version 1 is kept as taken back by"),
        (sa.update(tables.episodes).values(readmitted=None), r"episode .*-01T.* keeps out .*\(not readmitted\)"),
        (sa.update(tables.episodes).values(content="c" * 64), "keeps out content c"),
        (sa.update(tables.partition_counts).values(partitions=7), r"published partitions .* kept as \(7, "),
        (sa.delete(tables.partition_counts), r"refused partitions .* kept as \(0, 0\), and are \(1, 3\)"),
    ],
)
def test_whatever_is_kept_otherwise_than_the_chain_says_is_named(deployed, change, words):
    history(deployed)
    assert deployed.state_problems(P) == []
    with deployed.engine.begin() as connection:
        connection.execute(change)
    with pytest.raises(AssertionError, match=words):
        assert "; ".join(deployed.state_problems(P)) == ""
    deployed.rewrite_state(P)
    assert deployed.state_problems(P) == []
    assert deployed.serving(P).champion == "1"


def test_decisions_of_many_writers_at_once_keep_the_state_whole(deployed, postgres_url):
    from concurrent.futures import ThreadPoolExecutor

    stores = [Store.open(postgres_url) for _ in range(3)]
    steps = [("recalibrate", str(number % 3), f"2013-01-0{1 + number % 5}T0500", None) for number in range(15)]
    steps += [("promote", str(number % 3), "2013-01-05T0500") for number in range(6)]
    steps += [("ingest", f"2013-01-0{1 + number % 3}T0500", "published", "a" * 64, number) for number in range(12)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda numbered: take(stores[numbered[0] % 3], numbered[1]), enumerate(steps)))
    assert deployed.state_problems(P) == []
    assert deployed.partition_counts(P).by_state == {"published": 3}
    for store in stores:
        store.close()


def test_an_audit_names_what_is_kept_otherwise_than_the_chain_says(deployed, tmp_path):
    """It is the audit of `updraft audit verify`, and of `maintenance`, which tells on-call and fails."""
    from updraft.loop.auditing import audit_decisions
    from updraft.settings import Settings
    from updraft.store.anchors import Anchors

    settings = Settings.from_env({"UPDRAFT_HOME": str(tmp_path)})
    deployed.witness = Anchors.of(settings)
    history(deployed)
    assert audit_decisions(deployed, settings, P, None).problems == ()
    with deployed.engine.begin() as connection:
        connection.execute(sa.update(tables.serving).values(champion="2"))
    [problem] = audit_decisions(deployed, settings, P, None).problems
    assert "what serves is kept as Champion(version='2'" in problem
