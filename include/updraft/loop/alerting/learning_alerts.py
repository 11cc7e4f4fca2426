"""What on-call hears when learning stands still, and when it goes on.

A sign that lasts becomes a question, a training that is overdue is told with its reasons. Both, and a broken feed, are marked as resolved when
they are over.
"""

from __future__ import annotations

from collections.abc import Sequence

from updraft.alerts import messages, outbox
from updraft.alerts.alert import Alert, fitted_key
from updraft.loop.alerting.links import dag_url, learning_url
from updraft.loop.alerting.telling import never_fails, record
from updraft.loop.context import Loop
from updraft.loop.kept_out import LastingSign, readmit_command, sign_words
from updraft.loop.monitor import MONITOR, has_passed
from updraft.loop.watchdog import has_trained_lately, overdue_training
from updraft.store.records import EpisodeRow, KeptOut, Sign


@never_fails
def lasting_signs_asked(loop: Loop, episode: EpisodeRow) -> None:
    """Ask about every sign of a broken feed's episode that has kept out as many partitions in a row as drift has to last.

    That is the ``of`` of ``monitoring.drift.persist``, the policy's own word on what is no chance any more.
    """
    after = loop.spec.monitoring.drift.persist.of
    words = dict(zip(map(tuple, episode.diagnosis.get("signs", ())), episode.diagnosis.get("faults", ()), strict=False))
    for run in (LastingSign(**lasting) for lasting in episode.diagnosis.get("lasting", ())):
        asked = run.asked(after)
        if asked is None:
            continue
        alert = messages.lasting_sign(
            loop.name,
            sign=sign_words(run.sign),
            name=_name(run.sign),
            fault=str(words.get(run.sign, sign_words(run.sign))),
            since=run.since,
            key=episode.opened_at,
            partitions=run.partitions,
            asked=asked,
            accept=readmit_command(loop.name, run.sign),
            links={"What it learns from": learning_url(loop)},
        )
        record(loop, alert)


def _name(sign: Sign) -> str:
    kind, column = sign
    return f"{kind}:{column or ''}"


@never_fails
def feed_looked_at(loop: Loop, key: str) -> None:
    """Mark as resolved what a look at a partition shows to be over: of a feed that is sound again, and of signs that last no more.

    The newest partition speaks for the feed. An earlier one, ingested anew, speaks for itself.
    """
    is_newest = loop.store.newest_partition(loop.name) == key and not has_passed(loop, key)
    kept_out = loop.store.keeping_out(loop.name, since=key, until=key)
    if is_newest:
        signs = {sign for partition in kept_out for sign in partition.signs} - {*loop.store.accepted_signs(loop.name)}
        standing = {_incident(sign) for sign in signs}
        for question in outbox.standing_open(loop.store.engine, project=loop.name, entry="lasting_sign"):
            if question.incident is not None and question.incident not in standing:
                words = f"That sign does not keep partition {key} out."
                outbox.resolve(loop.store.engine, loop.name, question.incident, None, words=words)
    if kept_out:
        return
    broken = [alert.key for alert in _broken_feeds(loop) if alert.key is not None]
    if is_newest and broken:
        still = loop.store.keeping_out(loop.name, since=min(broken), until=key)
        words = f"The feed looks sound at partition {key}.{_left(loop.name, still)}"
        outbox.resolve(loop.store.engine, loop.name, messages.BROKEN_FEED, None, words=words)
    elif key in broken:
        words = f"Partition {key} was ingested anew and looks sound: trainings may learn from it."
        outbox.resolve(loop.store.engine, loop.name, messages.BROKEN_FEED, key, words=words)


def _incident(sign: Sign) -> str:
    return fitted_key(messages.lasting_incident(_name(sign)))


def _broken_feeds(loop: Loop) -> list[Alert]:
    """Alerts of broken feeds that are not marked as resolved; other episodes belong to no incident."""
    return outbox.standing_open(loop.store.engine, project=loop.name, entry="episode")


def _left(project: str, kept_out: Sequence[KeptOut]) -> str:
    if not kept_out:
        return ""
    first, last = kept_out[0].key, kept_out[-1].key
    which = f"Partition {first} stays" if first == last else f"{len(kept_out)} partitions from {first} to {last} stay"
    return (
        f" {which} kept out of every training: where the source was mended, clear the run of {project}.ingest; where the data are right, "
        f"`updraft readmit {project} {'PARTITION' if first != last else first} --reason WHY`."
    )


@never_fails
def readmitted(loop: Loop, keys: Sequence[str], signs: Sequence[Sign], *, by: str, reason: str) -> None:
    """A person said that a feed is right as it is: what was told of these partitions and asked about these signs is answered.

    :param keys: of the partitions that are readmitted. :param signs: those that no partition is kept out by any more, or that are accepted.
    """
    words = f"Readmitted by {by}: {reason}"
    engine, name = loop.store.engine, loop.name
    outbox.resolve(engine, name, messages.BROKEN_FEED, keys, words=words)
    answered = {_incident(sign) for sign in signs}
    newest = loop.store.seen_by(name, MONITOR)
    for question in outbox.standing_open(engine, project=name, entry="lasting_sign"):
        if question.incident is not None and (newest in keys or question.incident in answered):
            outbox.resolve(engine, name, question.incident, None, words=words)


@never_fails
def training_overdue(loop: Loop) -> None:
    """Tell that the last training is too old: once, and again each time when twice as many partitions have passed; and that it is so no more."""
    overdue = overdue_training(loop.store, loop.spec)
    if overdue is None:
        if has_trained_lately(loop.store, loop.spec):  # else one is called for, and has brought nothing yet
            last = loop.store.newest_training(loop.name)
            words = (
                f"The last training was at {last}, which the policy lets pass." if last else "The policy lets it pass."
            )
            outbox.resolve(loop.store.engine, loop.name, messages.OVERDUE, None, words=words)
        return
    alert = messages.training_overdue(
        loop.name,
        last=overdue.last,
        key=overdue.key,
        partitions=overdue.partitions,
        limit=overdue.limit,
        told=overdue.told,
        holding_back=overdue.holding_back,
        links={"Training": dag_url(loop, "train")},
    )
    record(loop, alert)
