"""What a person says about a feed that looked broken: it is right as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from updraft.errors import InputError, StoreError
from updraft.loop.kept_out import count_signs, sign_words
from updraft.store.records import KeptOut, Sign
from updraft.store.state import readmission
from updraft.store.store import Store


@dataclass(frozen=True)
class Readmitted:
    """What became of the partitions that a sign kept out."""

    signs: tuple[Sign, ...]
    """The signs that were meant."""
    partitions: tuple[str, ...]
    """Keys of those that a training may learn from again."""
    left: tuple[KeptOut, ...] = ()
    """Those that stay kept out, as they show other signs beside."""


def readmit(store: Store, project: str, key: str, *, by: str, reason: str) -> None:
    """Let trainings learn from a partition again that is right as it is: the world changed, not the feed. Said twice, it is one decision.

    The same sign in what follows is no fault either, until a champion has learnt from the partition.

    :raises StoreError: when the partition is not kept out.
    """
    newest = store.newest_partition(project) or ""
    row = store.partition_row(project, key)
    content = row.sha256 if row is not None and row.state == "published" else None
    if store.decision(project, "readmit", readmission(key, str(content))) is not None:
        return
    kept_out = store.keeping_out(project, since=key, until=key)
    if not kept_out:
        names = ", ".join(partition.key for partition in store.keeping_out(project, until=newest))
        raise StoreError(f"{project}: partition {key} is not kept out; kept out are {names or 'none'}")
    store.readmit(project, kept_out, key=newest, body={"reason": reason, "by": by})


def readmit_signs(
    store: Store,
    project: str,
    *,
    columns: Sequence[str] = (),
    kind: str | None = None,
    always: bool = False,
    by: str,
    reason: str,
) -> Readmitted:
    """Readmit every partition that some signs alone keep out; with ``always``, they are no faults any more from now on.

    A partition that shows another sign beside stays kept out: that one may be a fault all the same. Signs that are accepted already count
    as said, so a partition with two comes back when both were accepted.

    :param columns: the signs of these columns; none of them: those about a partition as a whole.
    :param kind: only signs of this kind.
    :raises InputError: when no partition is kept out by such a sign.
    """
    newest = store.newest_partition(project) or ""
    kept_out = store.keeping_out(project, until=newest)
    stands = tuple(sign for sign in store.accepted_signs(project) if _is_meant(sign, columns, kind))
    if always and stands and not kept_out and {column for _, column in stands} >= set(columns):
        return Readmitted(stands, ())  # said already
    signs = _meant(project, [sign for partition in kept_out for sign in partition.signs], columns, kind, kept_out)
    accepted = {*signs, *store.accepted_signs(project)}
    back = [partition for partition in kept_out if set(partition.signs) & set(signs) and {*partition.signs} <= accepted]
    left = [partition for partition in kept_out if set(partition.signs) & set(signs) and partition not in back]
    if always:  # first: killed in between, what is said to hold from now on holds
        store.decide_signs(project, signs, key=newest, accepted=True, by=by, reason=reason)
    store.readmit(project, back, key=newest, body={"reason": reason, "by": by})
    return Readmitted(signs, tuple(partition.key for partition in back), tuple(left))


def take_back(
    store: Store, project: str, *, columns: Sequence[str] = (), kind: str | None = None, by: str, reason: str
) -> tuple[Sign, ...]:
    """Take back that signs are no faults: from the next partition on they are again. What was readmitted stays readmitted.

    :return: the signs. Said twice, it is one decision.
    :raises InputError: when no such sign was ever accepted.
    """
    decided = store.sign_decisions(project)
    meant = [sign for sign in decided if _is_meant(sign, columns, kind)]
    without = [column for column in columns if column not in {column for _, column in meant}]
    if without or not meant:
        names = ", ".join(sign_words(sign) for sign, decision in decided.items() if decision.body["accepted"]) or "none"
        what = f"sign of column {without[0]!r}" if without else "such sign"
        raise InputError(f"{project}: no {what} was accepted for good; accepted are: {names}")
    standing = [sign for sign in meant if decided[sign].body["accepted"]]
    if standing:  # else it was taken back already
        newest = store.newest_partition(project) or ""
        store.decide_signs(project, standing, key=newest, accepted=False, by=by, reason=reason)
    return tuple(meant)


def _is_meant(sign: Sign, columns: Sequence[str], kind: str | None) -> bool:
    return (sign[1] in columns if columns else sign[1] is None) and kind in (None, sign[0])


def _meant(
    project: str, shown: Sequence[Sign], columns: Sequence[str], kind: str | None, kept_out: Sequence[KeptOut]
) -> tuple[Sign, ...]:
    """The signs that a person means, of those that are shown.

    :raises InputError: when a column shows none, naming those that do.
    """
    signs = tuple(dict.fromkeys(sign for sign in shown if _is_meant(sign, columns, kind)))
    without = [column for column in columns if column not in {column for _, column in signs}]
    if without or not signs:
        what = f"column {without[0]!r}" if without else "a partition as a whole"
        named = f"the sign {kind!r}" if kind else "a sign"
        there = ", ".join(count.words for count in count_signs(kept_out)) or "none"
        raise InputError(
            f"{project}: no partition is kept out by {named} of {what}; signs (and the partitions that they keep out): {there}"
        )
    return signs
