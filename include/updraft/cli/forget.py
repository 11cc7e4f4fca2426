"""``updraft forget``: a person's rows leave everything that Updraft keeps of a project."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from updraft.alerts.alert import cleaned
from updraft.cli.edge import FAILED, console, errors, explained, find_project, loop_of, open_store, who, write_json
from updraft.errors import InputError
from updraft.loop.forgetting import Forgotten, forget
from updraft.spec.model import Project


def forget_command(
    project: Annotated[str, typer.Argument(help="name of the project")],
    reason: Annotated[str, typer.Option(help="why, for the record; do not name the person here")],
    key: Annotated[list[str] | None, typer.Option(help="value that names the person; may be given again")] = None,
    keys: Annotated[Path | None, typer.Option(help="a text file with such values, one a line")] = None,
    column: Annotated[
        str | None, typer.Option(help="column of the row source that holds it; data.key where that is one column")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count the rows, and change nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do it without asking")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Forget persons: their rows leave the raw zone, partitions, labels, features, quarantine, predictions and the files of snapshots,
    and come in no more, whatever the source holds.

    Files are written anew without them; the chain keeps that it was done, by whom and why, with a keyed pseudonym and the hashes of the old
    files. Models that learnt from them are named: nothing takes it out of a model, so train anew. Remove them from the source too, and from
    backups. Interrupted, run it again with the same values: it goes on where it was.

    Example: updraft forget churn --key customer-4711 --reason "request of 3 May"
    """
    with explained(), open_store() as store:
        loaded = find_project(project)
        loop = loop_of(loaded, store)
        values, named = _values(key, keys), cleaned(column) if column else _column(loaded)
        planned = forget(loop, named, values, by=who(), reason=cleaned(reason), dry_run=True)
        if not dry_run:
            if not yes:
                _ask(planned)
            planned = forget(loop, named, values, by=who(), reason=cleaned(reason))
    if as_json:
        write_json(planned.as_dict() | {"dry_run": dry_run})
        return
    for line in _lines(planned, dry_run=dry_run):
        console.print(cleaned(line), markup=False, soft_wrap=True)


def _values(key: list[str] | None, keys: Path | None) -> list[str]:
    values = list(key or ())
    if keys is not None:
        try:
            values += [line.strip() for line in keys.read_text("utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--keys {keys} cannot be read: {error}") from error
    values = list(dict.fromkeys(value for value in values if value))
    if not values:
        raise InputError("name the person: --key VALUE, or --keys FILE with a value a line")
    return values


def _column(project: Project) -> str:
    key = project.spec.data.key
    if len(key) > 1:
        raise InputError(
            f"{project.name}: data.key has several columns ({', '.join(key)}): say which one names a person, with --column"
        )
    return key[0]


def _ask(planned: Forgotten) -> None:
    question = (
        f"{planned.project}: {planned.rows:,} rows of {len(planned.partitions)} partitions are removed for good. Go on?"
    )
    if not sys.stdin.isatty():
        raise InputError(f"{question} There is no terminal to ask on; add --yes where that is meant")
    if not typer.confirm(question, err=True):
        errors.print("nothing was changed")
        raise typer.Exit(FAILED)


def _lines(told: Forgotten, *, dry_run: bool) -> Iterator[str]:
    would = "would leave" if dry_run else "have left"
    yield (
        f"{told.project}: {told.persons} of {told.column}: {told.rows:,} rows of {len(told.partitions)} partitions, {told.labels:,} labels, "
        f"{told.predictions:,} predictions and {told.quarantined:,} rows in quarantine {would}"
    )
    if told.versions:
        yield f"  versions that learnt from these partitions: {', '.join(told.versions)}; train anew, and take them back where they serve"
    if not dry_run:
        yield "  remove the rows from the source and from backups too; Updraft does not read them again"
