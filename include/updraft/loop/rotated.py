"""Which keys made a project's pseudonyms, as ingestion reads it from the chain."""

from __future__ import annotations

from updraft.data.key_ring import KeyRing, Rotation, key_ring
from updraft.errors import DataError
from updraft.loop.context import Loop

ROTATE = "rotate_pseudonyms"
"""Kind of the decision that pseudonyms are made with another key from a partition on; its subject is the number of the rotation."""
DESTROY = "destroy_pseudonym_key"
"""Kind of the decision that the key before a rotation is destroyed; its subject is that rotation's."""


def rotations(loop: Loop) -> tuple[Rotation, ...]:
    """The rotations of the project's key, in order. Persons made them, so there are a few, however long the history."""
    decisions = loop.store.decisions(loop.name, kinds=(ROTATE, DESTROY))
    destroyed = {decision.subject for decision in decisions if decision.kind == DESTROY}
    return tuple(
        Rotation(
            number=int(decision.body["number"]),
            since=str(decision.body["since"]),
            before=str(decision.body["before"]),
            after=str(decision.body["after"]),
            pairs=bool(decision.body["pairs"]),
            destroyed=decision.subject in destroyed,
        )
        for decision in decisions
        if decision.kind == ROTATE
    )


def keys_of(loop: Loop) -> KeyRing:
    """The project's keys as they are now."""
    return key_ring(loop.project, loop.settings, rotations(loop))


def check_key_is_left(loop: Loop, key: str, made: tuple[Rotation, ...]) -> None:
    """Refuse to publish a partition anew whose pseudonyms no key can make any more: its rows would be other ones.

    :raises DataError: when it is published, and its key is destroyed.
    """
    after = next((rotation for rotation in made if rotation.since > key), None)
    if after is None or not after.destroyed:
        return
    row = loop.store.partition_row(loop.name, key)
    if row is not None and row.state == "published":
        raise DataError(
            f"{loop.name}: partition {key} was published with pseudonym key {after.before}, which is destroyed: published anew, its rows would "
            "be other ones than those that were scored; it stays as it is"
        )
