"""What goes wrong with runs, files and programs: a task that failed, something that was changed, a program that keeps dying."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from updraft.alerts.alert import Alert, cleaned, one_line, redacted
from updraft.alerts.messages.data import pass_over_command
from updraft.alerts.runbook import entry_of_task
from updraft.alerts.runbook.of_tasks import TASKS

ERROR_LENGTH = 300
"""Characters of an error that are told."""


def task_incident(dag: str, task: str) -> str:
    """The incident of a task that fails: of all its runs."""
    return f"failure:{dag}.{task}" if task else f"failure:{dag}"


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
    """A task has failed for good. The same cause in the same run again folds into one message; another one follows in its thread.

    :param passes: whether the cause could have been over at another try: then the retries are spent. Else none was made.
    """
    where = f"{dag}.{task}" if task else dag
    detail = redacted(one_line(error))[:ERROR_LENGTH] or "no error was reported: the process was probably killed"
    cause = hashlib.sha256(detail.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    ingestion = key is not None and dag == f"{project}.ingest"
    stays = (
        f" If the partition stays as it is: {pass_over_command(project, key)}" if key is not None and ingestion else ""
    )
    entry = entry_of_task(task)
    return Alert(
        project=project,
        kind="failure",
        entry=entry,
        dedup=f"failure:{where}:{run}:{attempt}",
        fold=f"failure:{where}:{run}:{cause}",
        incident=task_incident(dag, task),
        part=run,
        title=f"{where} failed",
        text=f"Run {run} stopped at {task or 'the DAG'}; {'its retries are spent' if passes else 'trying again would not mend it'}.",
        detail=detail,
        does="What the run had published stays; nothing half done is visible. Other projects go on.",
        needs=TASKS[entry].do + stays,
        key=key,
        links={"Log": log},
    )


def restarts_incident(program: str) -> str:
    """The incident of a program that keeps dying."""
    return f"restarts:{program}"


def late(
    project: str,
    *,
    key: str,
    source: str,
    error: str,
    until: str | None,
    links: Mapping[str, str],
) -> Alert:
    """A source's file of a partition is not there, or does not reach it, longer after the tick than the project says.

    :param error: what is wrong: that there is no file, what a file of all time ends with, or that its store does not answer.
    :param until: the next tick, until which it is waited for; None when that has passed.
    """
    clear = f"clear the run of {project}.ingest for {key}"
    goes_on = f"It goes on waiting, without a worker: a file that comes before {until} is read by itself."
    return Alert(
        project=project,
        kind="failure",
        entry="late",
        dedup=f"late:{key}",
        incident=task_incident(f"{project}.ingest", "extract_partition"),
        part=key,
        title=f"File of {source} is late",
        text=f"Nothing of {source} has come for partition {key} yet; its tick has passed longer ago than data.sources.{source}.wait allows.",
        detail=redacted(one_line(error)),
        does=goes_on if until else "The next partition has its turn, so it is not waited for any more.",
        needs=f"Ask whoever delivers it. {f'If it comes after {until}, {clear}' if until else f'When it is there, {clear}'}. If it never comes: "
        f"{pass_over_command(project, key)}",
        key=key,
        links=links,
    )


def restarts(project: str, *, program: str, times: int, minutes: int, first: str, log: str) -> Alert:
    """The process manager restarted a program of the stack again and again.

    :param times: restarts within ``minutes``; ``first`` is when they began, which names the event.
    :param log: file of what the program said.
    """
    return Alert(
        project=project,
        kind="failure",
        entry="restarts",
        dedup=f"restarts:{program}:{first}",
        incident=restarts_incident(program),
        part=first,
        title=f"{program} keeps dying",
        text=f"The process manager restarted {program} {times} times within {minutes} minutes (since {first}).",
        does="It goes on trying, every half minute at most.",
        needs=f'Read {log} (make logs ARGS="{program}"), mend what it says: memory, disk, a port, a setting; `updraft doctor` looks as well.',
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
        entry="tampered",
        dedup=f"integrity:{what}:{seen}",
        title=f"Integrity: {what} was changed",
        text=f"{redacted(where)} is not what was signed.",
        detail=told,
        does="It was not loaded. Nothing is scored or promoted with it until it is whole again.",
        needs="Treat it as a security event: find out who wrote there; restore the files, or roll back to a version "
        f"that is whole (`updraft rollback {project} --to VERSION --reason WHY`).",
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
        entry="untold",
        dedup=f"untold:{what}:{subject}",
        title=f"Not told in full: {what}",
        text=f"{what.capitalize()}: {subject}. The rest could not be read ({error}).",
        does="What was decided or published stands, and the work goes on.",
        needs=f"Read it with `updraft status {project}`; the task's log has the error.",
    )
