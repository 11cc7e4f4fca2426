"""What goes wrong with runs and files: a task that failed, something that was changed, something that could not be told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from updraft.alerts.alert import Alert, cleaned, one_line, redacted

ERROR_LENGTH = 300
"""Characters of an error that are told."""


def failure(
    project: str,
    *,
    dag: str,
    task: str,
    run: str,
    error: str,
    attempt: int = 1,
    passes: bool = True,
    key: str | None = None,
    log: str = "",
) -> Alert:
    """A task has failed for good. Later failures of the same task fold into one message.

    :param passes: whether the cause could have been over at another try: then the retries are spent. Else none was made.
    """
    where = f"{dag}.{task}" if task else dag
    return Alert(
        project=project,
        kind="failure",
        dedup=f"failure:{where}:{run}:{attempt}",
        fold=f"failure:{where}",
        title=f"{where} failed",
        text=f"Run {run} stopped at {task or 'the DAG'}; {'its retries are spent' if passes else 'trying again would not mend it'}.",
        detail=redacted(one_line(error))[:ERROR_LENGTH] or "no error was reported: the process was probably killed",
        does="What the run had published stays; nothing half done is visible. Other projects go on.",
        needs="Read the log, mend the cause, then clear the failed task: it takes up where it stopped.",
        key=key,
        links={"Log": log},
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
