"""What on-call hears when learning stands still: a sign that lasts becomes a question, a training that is overdue is told with its reasons."""

from __future__ import annotations

from updraft.alerts import messages
from updraft.loop.alerting import dag_url, learning_url
from updraft.loop.context import Loop
from updraft.loop.kept_out import LastingSign, readmit_command, sign_words
from updraft.loop.telling import never_fails, record
from updraft.loop.watchdog import overdue_training
from updraft.store.records import EpisodeRow


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
            name=f"{run.kind}:{run.column or ''}",
            fault=str(words.get(run.sign, sign_words(run.sign))),
            since=run.since,
            key=episode.opened_at,
            partitions=run.partitions,
            asked=asked,
            accept=readmit_command(loop.name, run.sign),
            links={"What it learns from": learning_url(loop)},
        )
        record(loop, alert)


@never_fails
def training_overdue(loop: Loop) -> None:
    """Tell that the last training is too old: once, and again each time when twice as many partitions have passed."""
    overdue = overdue_training(loop.store, loop.spec)
    if overdue is None:
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
