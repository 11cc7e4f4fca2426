"""What a person may do to a project from a page or a script, beside what Airflow starts: by the functions of the command line."""

from __future__ import annotations

from datetime import datetime

from updraft.alerts.alert import cleaned
from updraft.errors import DataError, InputError, StoreError
from updraft.loop.alerting import learning_alerts
from updraft.loop.context import Loop
from updraft.loop.kept_out import sign_words
from updraft.loop.readmission import Readmitted, readmit, readmit_signs
from updraft.loop.stopping import resume_remedies, stop_remedies
from updraft.store.records import Sign


def reason_given(project: str, reason: str) -> str:
    """A person's reason as it is recorded.

    :raises InputError: when there is none.
    """
    if not (words := cleaned(reason).strip()):
        raise InputError(f"{project}: give a reason: it is kept in the decision")
    return words


def stop(loop: Loop, *, by: str, reason: str) -> str:
    """Stop the remedies; what was done, in words."""
    changed = stop_remedies(loop.store, loop.name, by=by, reason=reason_given(loop.name, reason))
    return f"{loop.name}: the remedies are stopped{'' if changed else ' already'}"


def resume(loop: Loop, *, by: str, reason: str) -> str:
    """Let the remedies go on; what was done, in words."""
    changed = resume_remedies(loop.store, loop.name, by=by, reason=reason_given(loop.name, reason))
    return f"{loop.name}: the remedies go on{'' if changed else ' already'}"


def partition_to_ingest(loop: Loop, partition: str, now: datetime) -> str:
    """The key of a partition that may be ingested, for the first time or anew.

    :raises InputError: when it is no tick of the schedule, or one that is yet to come.
    """
    try:
        asked = loop.partition(cleaned(partition))
    except DataError as error:
        raise InputError(str(error)) from error
    if asked.tick > now:
        raise InputError(f"{loop.name}: partition {asked.key} ends only at {asked.tick:%Y-%m-%d %H:%M} UTC")
    return asked.key


def readmit_partition(loop: Loop, partition: str, *, by: str, reason: str) -> str:
    """Readmit one partition, and tell on-call; what was done, in words.

    :raises InputError: when it is not kept out.
    """
    key, why = cleaned(partition), reason_given(loop.name, reason)
    try:
        readmit(loop.store, loop.name, key, by=by, reason=why)
    except StoreError as error:
        raise InputError(str(error)) from error
    learning_alerts.readmitted(loop, [key], (), by=by, reason=why)
    return f"{loop.name}: the next training may learn from {key}"


def readmit_sign(loop: Loop, sign: Sign, *, always: bool, by: str, reason: str) -> str:
    """Readmit every partition that a sign alone keeps out, and tell on-call; what was done, in words.

    :param always: whether it is no fault any more from now on.
    :raises InputError: when no partition is kept out by it.
    """
    kind, column = sign
    why = reason_given(loop.name, reason)
    columns = [cleaned(column)] if column is not None else []
    done = readmit_signs(loop.store, loop.name, columns=columns, kind=cleaned(kind), always=always, by=by, reason=why)
    learning_alerts.readmitted(loop, done.partitions, answered(done, always=always), by=by, reason=why)
    left = f"; {len(done.left)} stay kept out, as they show other signs beside" if done.left else ""
    more = ", and it is no fault from now on" if always else ""
    signs = ", ".join(map(sign_words, done.signs))
    return f"{loop.name}: {signs}: the next training may learn from {len(done.partitions)} partitions again{left}{more}"


def answered(done: Readmitted, *, always: bool) -> list[Sign]:
    """Signs of which nothing is left to ask: what was said once leaves those of partitions that stay kept out."""
    left = () if always else {sign for partition in done.left for sign in partition.signs}
    return [sign for sign in done.signs if sign not in left]
