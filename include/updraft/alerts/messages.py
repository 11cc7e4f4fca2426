"""What is said: one alert for one event, in words that a person on call can act on.

Every alert answers three questions: what happened (``text``), what Updraft does about it (``does``), and what is left
for a person (``needs``; empty when nothing is). Builders take plain values and return the same alert for the same
event, so that a task that runs twice says nothing twice.

Alerts are published: they carry counts and names of checks, never values of rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

from updraft.alerts.alert import Alert, Kind, cleaned, one_line, redacted
from updraft.alerts.words import CAUSES, REMEDIES, VERDICTS, counts, gained, share

__all__ = [
    "Alert",
    "Kind",
    "approval",
    "episode",
    "failure",
    "promotion",
    "quarantine",
    "redacted",
    "refused",
    "refused_model",
    "rollback",
    "tampered",
    "trained",
    "untold",
    "verdict",
    "waiting",
]

ERROR_LENGTH = 300


def failure(
    project: str,
    *,
    dag: str,
    task: str,
    run: str,
    error: str,
    attempt: int = 1,
    key: str | None = None,
    log: str = "",
) -> Alert:
    """A task has failed for good (its retries are spent). Later failures of the same task fold into one message."""
    where = f"{dag}.{task}" if task else dag
    return Alert(
        project=project,
        kind="failure",
        dedup=f"failure:{where}:{run}:{attempt}",
        fold=f"failure:{where}",
        title=f"{where} failed",
        text=f"Run {run} stopped at {task or 'the DAG'}; its retries are spent.",
        detail=redacted(one_line(error))[:ERROR_LENGTH] or "no error was reported: the process was probably killed",
        does="What the run had published stays; nothing half done is visible. Other projects go on.",
        needs="Read the log, mend the cause, then clear the failed task: it takes up where it stopped.",
        key=key,
        links={"Log": log},
    )


def quarantine(
    project: str, *, key: str, rows: int, of: int, reasons: Mapping[str, int], content: str = "", docs: str = ""
) -> Alert:
    """Some rows broke the contract and were set aside; the rest was published.

    :param rows: rows set aside, of ``of`` rows.
    :param reasons: check to number of rows (a row may break several); 0 for a check on the partition as a whole.
    :param content: hash of the partition; a partition ingested again with other content is another event.
    """
    return Alert(
        project=project,
        kind="quarantine",
        dedup=f"quarantine:{key}:{content}",
        fold="quarantine:" + ",".join(sorted(reasons)),
        title=f"{rows:,} rows in quarantine",
        text=f"{rows:,} of {of:,} rows ({share(rows, of)}) broke the data contract.",
        detail=counts(reasons),
        does="They were set aside with their reasons; the other rows were published.",
        needs="Nothing now. If this goes on, ask the owner of the source, or correct the contract.",
        key=key,
        links={"Data docs": docs},
    )


def refused(
    project: str,
    *,
    key: str,
    rows: int,
    of: int,
    limit: float,
    reasons: Mapping[str, int],
    content: str = "",
    docs: str = "",
) -> Alert:
    """More rows broke the contract than the project allows: nothing of the partition was published.

    :param limit: the share that ``data.refuse_above`` allows.
    """
    return Alert(
        project=project,
        kind="quarantine",
        dedup=f"refused:{key}:{content}",
        fold="refused",
        title="Partition refused",
        text=f"{rows:,} of {of:,} rows ({share(rows, of)}) broke the data contract; {limit:.1%} are allowed.",
        detail=counts(reasons),
        does="Nothing of the partition was published, scored or trained on. The model serves on as it was.",
        needs="Mend the feed and clear the ingest run of this partition; or raise data.refuse_above if the rows are "
        "right.",
        key=key,
        links={"Data docs": docs},
    )


def episode(
    project: str,
    *,
    episode: str,
    key: str,
    cause: str,
    remedy: str,
    diagnosis: str,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """An episode was opened: what is wrong, shown by what, and the remedy.

    :param diagnosis: the evidence in one or two sentences.
    :param remedy: ``retrain``, ``recalibrate``, ``quarantine`` or ``person``.
    """
    does, needs = REMEDIES.get(remedy, (f"The remedy is {remedy}.", ""))
    return Alert(
        project=project,
        kind="drift",
        dedup=f"episode:{episode}",
        title=f"Episode: {CAUSES.get(cause, cause)}",
        text=diagnosis,
        does=does,
        needs=needs,
        thread=episode,
        key=key,
        links=links or {},
    )


def trained(
    project: str,
    *,
    run: str,
    key: str,
    version: str,
    summary: str,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """A training has passed its gates and was registered.

    :param summary: the gates' result in one sentence.
    """
    return Alert(
        project=project,
        kind="verdict",
        dedup=f"trained:{run}:{version}",
        title=f"Version {version} was trained",
        text=summary,
        does="It is signed and registered; its release starts now.",
        thread=thread,
        key=key,
        links=links or {},
    )


def refused_model(
    project: str,
    *,
    run: str,
    key: str,
    reasons: Sequence[str],
    version: str | None = None,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """A training has not passed its gates."""
    return Alert(
        project=project,
        kind="verdict",
        dedup=f"refused_model:{run}:{version or ''}",
        title=f"Version {version} was refused" if version else "The new model was refused",
        text="The new model did not pass the gates.",
        detail="\n".join(reasons),
        does="The model that serves stays. The refused one stays in MLflow with its reasons.",
        needs="Nothing now. Refused twice in a row: the features or the world changed; look at the slices.",
        thread=thread,
        key=key,
        links=links or {},
    )


def verdict(
    project: str,
    *,
    release: str,
    version: str,
    against: str,
    key: str,
    verdict: Literal["promote", "hold", "reject", "roll_back", "keep"],
    reason: str,
    clusters: int,
    gain: float,
    low: float,
    high: float,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """The evidence on a release has spoken. One alert for each verdict of a release, whatever the partition.

    :param thread: the episode that the release belongs to, when there is one.
    :param gain: mean gain in loss of ``version`` over ``against``; ``low`` and ``high`` bound it at every look.
    """
    does, needs = VERDICTS[verdict]
    return Alert(
        project=project,
        kind="verdict",
        dedup=f"verdict:{release}:{verdict}",
        title=f"Version {version}: {verdict.replace('_', ' ')}",
        text=f"{reason.rstrip('.')}. {gained(against, gain, low, high, clusters)}",
        does=does,
        needs=needs,
        thread=thread or release,
        key=key,
        links=links or {},
    )


def approval(
    project: str,
    *,
    release: str,
    version: str,
    reason: str,
    until: str,
    key: str | None = None,
    link: str = "",
    thread: str | None = None,
) -> Alert:
    """A person has to approve a release.

    :param until: when the question is answered with a rejection, in words.
    :param link: where to answer.
    """
    return Alert(
        project=project,
        kind="approval",
        dedup=f"approval:{release}",
        title=f"Version {version} waits for your approval",
        text=reason,
        does=f"It stays in shadow; the model that serves stays. Without an answer it is rejected {until}.",
        needs="Look at the evidence, then approve or reject.",
        thread=thread or release,
        key=key,
        links={"Approve or reject": link},
    )


def promotion(
    project: str,
    *,
    release: str,
    lane: Literal["refresh", "change"],
    version: str,
    previous: str | None,
    key: str,
    reason: str,
    probation: int = 0,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """A version has become the champion.

    :param probation: partitions for which the previous champion stays in shadow.
    """
    if previous is None:
        does = "It is the first model of the project: scoring starts with the next partition."
    elif probation:
        does = (
            f"Version {previous} stays in shadow for {probation} partitions; "
            "if the new version is shown worse, it is rolled back by itself."
        )
    else:
        does = f"Version {previous} stays at hand as `previous`."
    return Alert(
        project=project,
        kind="verdict",
        dedup=f"promotion:{release}",
        title=f"Version {version} serves now",
        text=f"{lane.capitalize()} {release} was promoted: {reason.rstrip('.')}.",
        does=does,
        thread=thread or release,
        key=key,
        links=links or {},
    )


def rollback(
    project: str,
    *,
    release: str,
    version: str,
    to: str,
    key: str,
    reason: str,
    by: str | None = None,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """The version before serves again.

    :param by: who asked for it; None when Updraft did it by itself.
    """
    return Alert(
        project=project,
        kind="rollback",
        dedup=f"rollback:{release}",
        title=f"Rolled back to version {to}",
        text=f"Version {version} was taken back{f' by {by}' if by else ''}: {reason.rstrip('.')}.",
        does=f"Version {to} serves from the next partition on. Predictions made so far keep their version.",
        needs="" if by else "Nothing at once. Find out what the refresh had learned before the next training.",
        thread=thread or release,
        key=key,
        links=links or {},
    )


def tampered(
    project: str, *, what: str, where: str, error: str, key: str | None = None, links: Mapping[str, str] | None = None
) -> Alert:
    """Something signed or hashed is not what it was: it was refused.

    :param what: such as "model version 7"; :param where: its URL.
    """
    told = cleaned(redacted(one_line(error)))[:ERROR_LENGTH]
    where = cleaned(where)
    seen = hashlib.sha256(f"{where}\n{told}".encode()).hexdigest()[:16]
    return Alert(
        project=project,
        kind="integrity",
        dedup=f"integrity:{what}:{seen}",
        title=f"Integrity: {what} was changed",
        text=f"{redacted(where)} is not what was signed.",
        detail=told,
        does="It was not loaded. Nothing is scored or promoted with it until it is whole again.",
        needs="Treat it as a security event: find out who wrote there; restore the files, or roll back to a version "
        "that is whole (updraft rollback).",
        key=key,
        links=links or {},
    )


def waiting(
    project: str,
    *,
    subject: str,
    what: str,
    why: str,
    until: str = "",
    needs: str = "",
    thread: str | None = None,
    key: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """Something that would be done is not done yet, and why: a cooldown, a spent budget, a full queue.

    :param subject: what waits, once and for all (an episode, a release): one alert per subject and reason.
    """
    return Alert(
        project=project,
        kind="drift",
        dedup=f"waiting:{subject}:{why}",
        title=f"Waiting: {what}",
        text=why,
        does=f"It goes on by itself {until}." if until else "It goes on by itself as soon as that has passed.",
        needs=needs,
        thread=thread,
        key=key,
        links=links or {},
    )


def untold(project: str, *, what: str, subject: str, error: str) -> Alert:
    """Something happened that could not be told as it should be: what is known of it without the store.

    :param what: the event, such as "promoted"; :param subject: what it is about: a run, a release, a partition.
    :param error: name of the error that was in the way.
    """
    return Alert(
        project=project,
        kind="failure",
        dedup=f"untold:{what}:{subject}",
        title=f"Not told in full: {what}",
        text=f"{what.capitalize()}: {subject}. The rest could not be read ({error}).",
        does="What was decided or published stands, and the work goes on.",
        needs=f"Read it with `updraft status {project}`; the task's log has the error.",
    )
