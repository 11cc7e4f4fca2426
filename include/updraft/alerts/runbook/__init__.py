"""The runbook: what each alert and each failed task means, how to see more, what to do, how to undo it.

The alerts take their words from here, docs/runbook.md is written from here (``make docs``), and Airflow shows it at ``/updraft/runbook``,
to which every alert links.
"""

from __future__ import annotations

from collections.abc import Iterator

from updraft.alerts.runbook.entry import Entry
from updraft.alerts.runbook.of_alerts import ALERTS
from updraft.alerts.runbook.of_tasks import ANY_TASK, TASKS

FILE = "docs/runbook.md"
PAGE = "updraft/runbook"
"""Of Airflow's UI: the same page, for people who have no checkout at hand."""


def entry_of_task(task: str) -> str:
    """The entry of a failed task; of a run that failed without one, or a task that has none, that of any other."""
    name = task.partition("[")[0]
    return name if name in TASKS else ANY_TASK


def link(entry: str, airflow: str) -> str:
    """Where a person can open an entry: the page of Airflow's UI, or without its address the file of a checkout."""
    return f"{airflow}/{PAGE}#{entry}" if airflow else f"{FILE}#{entry}"


def entries() -> Iterator[tuple[str, Entry]]:
    """Every entry with its name, alerts first."""
    yield from ALERTS.items()
    yield from TASKS.items()


def markdown() -> str:
    """The page as it stands in docs/runbook.md."""
    lines = [
        "# Runbook",
        "",
        "For each alert and each failed task: what it means, how to see more, what to do, how to undo it. Written from the texts that the",
        "alerts themselves use: `make docs`, never by hand. Every alert links to its entry here, at `/updraft/runbook` of Airflow's UI.",
        "",
        "`PROJECT`, `PARTITION`, `VERSION`, `COLUMN`, `KIND` (of a sign, such as `nulls`), `PROGRAM` and `WHY` stand for yours.",
        "To clear a run or a task: its page in Airflow, *Clear*.",
    ]
    for heading, part in (("Alerts", ALERTS), ("Failed tasks", TASKS)):
        lines += ["", f"## {heading}"]
        for name, entry in part.items():
            lines += ["", f'<a id="{name}"></a>', "", f"### {entry.title}", ""]
            lines += [f"* **Means:** {entry.means}", f"* **See more:** {entry.look}"]
            lines += [f"* **Do:** {entry.do}", f"* **Undo:** {entry.undo}"]
    return "\n".join(lines) + "\n"
