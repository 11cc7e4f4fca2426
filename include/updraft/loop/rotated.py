"""Which keys made a project's pseudonyms, as ingestion reads it from the chain."""

from __future__ import annotations

from updraft.data.extraction import slices
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
    """Refuse to publish a partition anew where no key can make its pseudonyms any more, or those of rows whose labels mature at its tick.

    Its rows would be other ones, and its labels would find no row.

    :raises DataError: when it is published, and such a key is destroyed.
    """
    destroyed = {
        part: rotation.before for part in _with_labels(loop, key, made) if (rotation := _destroyed(part, made))
    }
    if not destroyed:
        return
    row = loop.store.partition_row(loop.name, key)
    if row is None or row.state != "published":
        return
    if key in destroyed:
        raise DataError(
            f"{loop.name}: partition {key} was published with pseudonym key {destroyed[key]}, which is destroyed: published anew, its rows would "
            "be other ones than those that were scored; it stays as it is"
        )
    raise DataError(
        f"{loop.name}: at the tick of {key} labels of {min(destroyed)} matured, whose pseudonym key {destroyed[min(destroyed)]} is destroyed: "
        f"published anew, they would find no row; {key} stays as it is"
    )


def _with_labels(loop: Loop, key: str, made: tuple[Rotation, ...]) -> list[str]:
    """A partition, and those whose labels mature at its tick; none where no key was ever destroyed."""
    return [part.key for part in slices(loop.project, key)] if any(rotation.destroyed for rotation in made) else []


def _destroyed(key: str, made: tuple[Rotation, ...]) -> Rotation | None:
    """The rotation after which the key of a partition was destroyed; None where it is there."""
    after = next((rotation for rotation in made if rotation.since > key), None)
    return after if after is not None and after.destroyed else None
