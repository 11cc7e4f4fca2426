"""The chain of decisions against somebody with rights in the database: each thing that he can do is refused or named."""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from updraft import files
from updraft.cli.main import app
from updraft.errors import SettingsError
from updraft.files import canonical_hash
from updraft.store import tables
from updraft.store.anchors import LOG, PRIVATE, Anchor, AnchorLog, Anchors, AuditKey, audit
from updraft.store.chain import GENESIS, link_hash
from updraft.store.store import Store

P = "flight_delays"
D = tables.decisions


@pytest.fixture
def anchors(tmp_path):
    return Anchors(f"file://{tmp_path}/lake", AuditKey(tmp_path / "keys"))


@pytest.fixture
def store(store_url, anchors):
    found = Store.open(store_url, anchors)
    yield found
    found.close()


@pytest.fixture
def chain(store):
    for number in range(6):
        store.decide(P, key=f"k{number}", kind="note", subject=str(number), body={"value": number / 10})
    return store.decisions(P)


def problems(store, anchors, head=None) -> str:
    return "\n".join(audit(P, partial(store.decisions, P), anchors.log(P), anchors.key, head).problems)


def as_owner(store, *statements: sa.Executable) -> None:
    """What the owner of the table can do once he has switched its triggers off."""
    with store.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE decisions DISABLE TRIGGER USER"))
        for statement in statements:
            connection.execute(statement)
        connection.execute(sa.text("ALTER TABLE decisions ENABLE TRIGGER USER"))


def rewritten(decisions, seq: int, **changes) -> list[sa.Executable]:
    """A decision with other content, and every hash from there on made anew, as somebody would who knows the format."""
    statements, previous = [], decisions[seq - 2].sha256 if seq > 1 else GENESIS
    for decision in decisions[seq - 1 :]:
        link = dataclasses.asdict(decision) | {"previous_sha256": previous} | (changes if decision.seq == seq else {})
        previous = link_hash(link)
        values = link | {"sha256": previous, "written_at": datetime.fromisoformat(link["written_at"])}
        statements.append(sa.update(D).where(D.c.project == P, D.c.seq == decision.seq).values(**values))
    return statements


def test_a_chain_that_nobody_touched_is_whole(store, chain, anchors):
    found = audit(P, lambda: chain, anchors.log(P), anchors.key)
    assert (found.problems, found.decisions, found.anchored, found.head.seq) == ((), 6, 6, 6)


@pytest.mark.parametrize(
    "statement", ["UPDATE decisions SET body = '{}'", "DELETE FROM decisions", "TRUNCATE decisions"]
)
def test_the_database_itself_refuses_to_change_or_remove_decisions(store, chain, statement):
    with pytest.raises(sa.exc.DatabaseError, match="never changed or removed"), store.engine.begin() as connection:
        connection.execute(sa.text(statement))
    assert store.decisions(P) == chain


def test_a_tail_that_was_cut_is_named_with_its_times(store, chain, anchors):
    as_owner(store, sa.delete(D).where(D.c.seq > 4))
    assert f"decisions 5 to 6 (2 of them) are missing: they were written from {chain[4].written_at}" in problems(
        store, anchors
    )


def test_a_tail_that_was_cut_and_has_grown_again_is_named(store, chain, anchors):
    as_owner(store, sa.delete(D).where(D.c.seq > 4))
    for number in range(2):
        store.decide(P, key="k", kind="note", subject=f"grown {number}", body={})
    assert store.verify_chain(P) == 6
    assert "decision 5 (note grown 0) is not the one that was written" in problems(store, anchors)


def test_what_a_killed_process_could_not_attest_is_attested_by_maintenance(
    store, chain, anchors, monkeypatch, tmp_path
):
    from updraft.loop.auditing import complete_anchors
    from updraft.settings import Settings

    monkeypatch.setattr(Anchors, "confirm", lambda *_: None)
    store.decide(P, key="k9", kind="note", subject="killed", body={})
    monkeypatch.undo()
    found = audit(P, partial(store.decisions, P), anchors.log(P), anchors.key)
    assert (found.problems, [decision.seq for decision in found.lacking]) == ((), [7])
    complete_anchors(Settings.from_env({"UPDRAFT_HOME": str(tmp_path)}), found)
    as_owner(store, sa.delete(D).where(D.c.seq == 7))
    assert "decision 7 is missing" in problems(store, anchors)


def test_a_middle_that_was_written_anew_with_new_hashes_is_named(store, chain, anchors):
    as_owner(store, *rewritten(chain, 3, body={"value": "forged"}))
    assert store.verify_chain(P) == 6, "the hashes alone do not tell"
    assert "decision 3 (note 2) is not the one that was written" in problems(store, anchors)


def test_a_date_that_was_changed_is_named(store, chain, anchors):
    earlier = datetime.fromisoformat(chain[1].written_at) - timedelta(days=30)
    as_owner(store, sa.update(D).where(D.c.seq == 2).values(written_at=earlier))
    assert "decision 2 (note 1) was changed" in problems(store, anchors)


def test_dates_that_were_changed_with_new_hashes_are_named(store, chain, anchors):
    moment = (datetime.fromisoformat(chain[1].written_at) - timedelta(days=30)).isoformat(timespec="microseconds")
    as_owner(store, *rewritten(chain, 2, written_at=moment))
    assert store.verify_chain(P) == 6
    assert "decision 2 (note 1) is not the one that was written at" in problems(store, anchors)


def test_a_decision_that_somebody_else_appended_is_named_even_when_more_follow(store, chain, anchors):
    link = dataclasses.asdict(chain[-1]) | {"seq": 7, "subject": "forged", "previous_sha256": chain[-1].sha256}
    values = link | {"sha256": link_hash(link), "written_at": datetime.fromisoformat(link["written_at"])}
    with store.engine.begin() as connection:
        connection.execute(sa.insert(D).values(**values))
    store.decide(P, key="k9", kind="note", subject="honest", body={})
    assert store.verify_chain(P) == 8
    assert "decision 7 is without an anchor" in problems(store, anchors)


def test_links_of_the_old_form_are_no_way_around_the_anchors(store, chain, anchors):
    as_owner(store, *rewritten(chain, 5, body={"value": "forged"}, form=1))
    assert "decision 5 (note 4)" in problems(store, anchors)


def test_a_log_that_was_cut_or_removed_is_named(store, chain, anchors):
    path = files.local_path(f"{anchors.log(P).url}/{LOG}")
    head = Anchor.read(path.read_text().splitlines()[-1])
    path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines()[:6]))
    assert "decisions 4 to 6 (3 of them) are without an anchor" in problems(store, anchors)
    path.unlink()
    assert "without an anchor" in problems(store, anchors)
    as_owner(store, sa.delete(D))  # chain and log gone together: what MLflow was told remains
    assert "decision 6 is missing" in problems(store, anchors, head)


def test_anchors_of_another_key_are_named(store, chain, anchors, tmp_path):
    other = AuditKey(tmp_path / "others")
    forged = other.sign(Anchor(P, 7, "f" * 64, chain[0].written_at, "committed"))
    anchors.log(P).append(forged)
    for line in ("no anchor at all", "[" * 100_000):
        files.append_line(f"{anchors.log(P).url}/{LOG}", line)
    assert "3 line(s)" in problems(store, anchors)


def test_a_process_that_was_killed_before_its_commit_breaks_nothing(store, chain, anchors):
    anchors.intend(dataclasses.replace(chain[-1], seq=7, sha256="a" * 64))
    assert problems(store, anchors) == ""
    store.decide(P, key="k7", kind="note", subject="after", body={})
    assert problems(store, anchors) == ""


def test_a_decision_that_cannot_be_attested_is_not_taken(store, chain, anchors, monkeypatch):
    def away(*_):
        raise ConnectionError("the lake is away")

    monkeypatch.setattr(AnchorLog, "append", away)
    with pytest.raises(ConnectionError, match="the lake is away"):
        store.decide(P, key="k9", kind="note", subject="lost", body={})
    assert store.decisions(P) == chain


def test_links_from_before_there_were_anchors_stay_valid(store, anchors):
    link = {
        "project": P,
        "seq": 1,
        "key": "k0",
        "kind": "note",
        "subject": "old",
        "body": {},
        "previous_sha256": GENESIS,
    }
    with store.engine.begin() as connection:
        connection.execute(
            sa.insert(D).values(**link, sha256=canonical_hash(link), form=1)
        )  # as an earlier version wrote it
    store.decide(P, key="k1", kind="note", subject="new", body={})
    found = audit(P, partial(store.decisions, P), anchors.log(P), anchors.key)
    assert (found.problems, found.decisions, found.anchored) == ((), 2, 1)
    assert "1 of them from before there were anchors" in found.words


def test_a_link_in_the_old_form_after_the_first_anchor_is_named(store, anchors):
    """Of a chain from before there were anchors maintenance attests the head; from there on nothing goes without one."""
    from updraft.loop.auditing import complete_anchors
    from updraft.settings import Settings

    def old(seq: int, previous: str, subject: str) -> str:
        link = {"seq": seq, "project": P, "key": f"k{seq}", "kind": "note", "subject": subject, "body": {}}
        link["previous_sha256"] = previous
        with store.engine.begin() as connection:
            connection.execute(sa.insert(D).values(**link, sha256=canonical_hash(link), form=1))
        return canonical_hash(link)

    head = old(1, GENESIS, "old")
    found = audit(P, partial(store.decisions, P), anchors.log(P), anchors.key)
    assert (found.problems, len(found.lacking)) == ((), 1)
    complete_anchors(Settings.from_env({"UPDRAFT_HOME": str(anchors.key.keys.parent)}), found)
    assert problems(store, anchors) == ""
    old(2, head, "forged")
    assert "decision 2 is without an anchor" in problems(store, anchors)


@pytest.mark.parametrize("before_the_chain_is_read", [True, False])
def test_what_is_decided_during_an_audit_is_neither_missing_nor_foreign(
    store, chain, anchors, before_the_chain_is_read
):
    def read():
        if before_the_chain_is_read:
            store.decide(P, key="k9", kind="note", subject="meanwhile", body={})
            return store.decisions(P)
        found = store.decisions(P)
        store.decide(P, key="k9", kind="note", subject="meanwhile", body={})
        return found

    assert audit(P, read, anchors.log(P), anchors.key).problems == ()


def test_a_line_that_was_torn_when_the_machine_went_down_spoils_nothing(store, chain, anchors):
    url = f"{anchors.log(P).url}/{LOG}"
    files.write_bytes(url, files.read_bytes(url) + b'{"phase": "intended", "proj')
    assert problems(store, anchors) == ""
    store.decide(P, key="k9", kind="note", subject="after", body={})
    found = audit(P, partial(store.decisions, P), anchors.log(P), anchors.key)
    assert (found.problems, found.anchored) == ((), 7)


def test_a_lost_key_is_not_replaced_silently(store, chain, anchors):
    (anchors.key.keys / PRIVATE).unlink()
    fresh = Anchors(anchors.base, AuditKey(anchors.key.keys))
    with pytest.raises(SettingsError, match="is lost, and its public half"):
        Store(store.engine, fresh).decide(P, key="k9", kind="note", subject="x", body={})


def test_a_key_that_is_rotated_on_purpose_keeps_what_was_attested(store, chain, anchors, tmp_path, store_url):
    env = {**os.environ, "UPDRAFT_HOME": str(tmp_path), "UPDRAFT_STORE": store_url, "UPDRAFT_MLFLOW": ""}
    done = CliRunner().invoke(app, ["keys", "rotate", "audit"], env=env)
    assert done.exit_code == 0, done.output
    fresh = Anchors(anchors.base, AuditKey(anchors.key.keys))
    Store(store.engine, fresh).decide(P, key="k9", kind="note", subject="after", body={})
    found = audit(P, partial(store.decisions, P), fresh.log(P), AuditKey(anchors.key.keys))
    assert (found.problems, found.anchored) == ((), 7)
    [retired] = anchors.key.keys.glob("audit.*.pub.pem")
    retired.unlink()
    assert "not signed by this deployment" in problems(store, fresh)


def test_the_command_says_in_words_what_is_wrong_and_ends_with_3(store, chain, anchors, tmp_path, store_url):
    env = {**os.environ, "UPDRAFT_HOME": str(tmp_path), "UPDRAFT_STORE": store_url, "UPDRAFT_MLFLOW": ""}
    whole = CliRunner().invoke(app, ["audit", "verify", P], env=env)
    assert (whole.exit_code, whole.output.strip()) == (0, f"{P}: 6 decisions, whole and as they were written")
    as_owner(store, sa.delete(D).where(D.c.seq == 6))
    broken = CliRunner().invoke(app, ["audit", "verify", P], env=env)
    assert broken.exit_code == 3
    assert "decision 6 is missing" in broken.output


def test_a_bucket_holds_an_object_for_each_line(object_store, store_url, tmp_path):
    anchors = Anchors(object_store.lake, AuditKey(tmp_path / "keys"))
    store = Store.open(store_url, anchors)
    for number in range(3):
        store.decide(P, key="k", kind="note", subject=str(number), body={})
    found = audit(P, partial(store.decisions, P), anchors.log(P), anchors.key)
    assert (found.problems, found.anchored) == ((), 3)
    [last] = [name for name in files.names_below(anchors.log(P).url) if name.startswith("000000003-committed")]
    files.remove(f"{anchors.log(P).url}/{last}")
    as_owner(store, sa.delete(D).where(D.c.seq == 2))
    assert "decision 2 is missing" in problems(store, anchors)
    store.close()
