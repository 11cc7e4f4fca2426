"""``updraft init``: a project for a table that nobody has described yet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.table import Table as Shown

from updraft.alerts.alert import cleaned
from updraft.cli.edge import BAD_INPUT, OK, console, explained, settings, who, write_json
from updraft.cli.validate import judge, show_judged
from updraft.connections import VARIABLE
from updraft.errors import InputError
from updraft.spec.load import load_project_or_problems
from updraft.spec.part import Duration, Name, shown_duration
from updraft.tasks.binary import BINARY

if TYPE_CHECKING:
    from datetime import timedelta

    from updraft.draft.project import Draft, Said
    from updraft.draft.question import Question, Settle

_BARS = " ▁▂▃▄▅▆▇█"
_SHOWN = 8
"""Classes that are named at most."""
_WIDEST = 72
"""Bars of the picture of the volume."""


def init(
    project: Annotated[str, typer.Argument(help="name of the project: lower-case letters, digits and _")],
    data: Annotated[
        str,
        typer.Option(
            help="a CSV or Parquet file (also packed), a folder of them, a pattern in quotes ('orders-*.csv'), a URL, a prefix of a bucket (s3://), "
            "or a table (postgresql://USER:PASSWORD@HOST/DATABASE?table=NAME)"
        ),
    ],
    label: Annotated[
        str | None, typer.Option(help='column that is to be learnt, or an SQL expression, such as "delay > 15"')
    ] = None,
    time: Annotated[str | None, typer.Option(help="column with the moment of a row")] = None,
    time_format: Annotated[
        str | None, typer.Option(help='how its times are written, as for strptime ("%d/%m/%Y"), or unix, unix_ms')
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="of times that are written without one, such as Europe/Oslo; UTC unless said")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="columns that tell rows apart, with commas between them; may be given again"),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="what kind of label it is, where values do not tell: binary, multiclass, regression"),
    ] = None,
    schedule: Annotated[str | None, typer.Option(help="hourly, daily, weekly, or a cron expression (UTC)")] = None,
    matures_after: Annotated[
        str | None, typer.Option(help="after how long a row's label is known, such as 30d")
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="decimal sign of a CSV file's numbers, where they do not tell: . or ,")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="who answers for the project; you, unless said")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="take every guess without asking")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Make a project of a table: read it as ingestion will, show what is understood of it, and write project.yaml, features.py and expectations.yaml.

    What cannot be guessed safely is asked; without a terminal it ends with 2 and names the option that says it, and nothing is written. A folder
    that is there is never written over. Columns that look private, or known only with the outcome, are kept from the features, and named.
    Afterwards it does what `updraft validate` does. Airflow shows the project's DAGs at its next look at the folder, without a restart.

    Example: updraft init churn --data churn.csv
    """
    with explained():
        from updraft.draft import files, folder
        from updraft.draft.project import Said

        name = _checked_name(project)
        target = settings().projects / name
        folder.need_no_folder(target)
        said = Said(
            label=label,
            time=time,
            time_format=time_format,
            time_zone=time_zone,
            key=tuple(part.strip() for given in key for part in given.split(",") if part.strip()) if key else None,
            task=task,
            schedule=schedule,
            matures_after=_duration(matures_after),
            decimal=decimal,
        )
        asking = not yes and not as_json and sys.stdin.isatty() and sys.stdout.isatty()
        made = _drafted(name, data, owner or who().partition(",")[0], said, _settle(yes=yes, asking=asking))
        if not as_json:
            show(made)
        if asking and not typer.confirm(f"Write {target}?", default=True):
            raise typer.Exit(OK)
        folder.put(target, files.written(made))
        judged = judge(load_project_or_problems(target, settings().environment), every=False)
    if as_json:
        write_json({"project": name, "folder": str(target), "draft": as_dict(made), "validate": judged})
    else:
        console.print(
            f"\nwritten: {', '.join(str(target / file) for file in files.written(made))}", markup=False, soft_wrap=True
        )
        show_judged({name: judged})
        for line in _next(made, sound=judged["sound"]):
            console.print(line, markup=False, soft_wrap=True)
    if not judged["sound"]:
        raise typer.Exit(BAD_INPUT)


def _drafted(name: str, data: str, owner: str, said: Said, settle: Settle) -> Draft:
    """The draft of what ``--data`` names. The connection of a database stands in this command's environment from now on, for its `validate`."""
    from updraft.draft import place
    from updraft.draft.database import table_of
    from updraft.draft.project import draft

    table = table_of(data)
    if table is None:
        url = place.url_of(data)
        return draft(name, url, place.source_name(url), owner, said, settle)
    with table.copied() as url:
        made = table.of(draft(name, url, table.name, owner, said, settle))
    os.environ[table.variable] = table.uri
    return made


def _checked_name(project: str) -> str:
    try:
        return TypeAdapter(Name).validate_python(project)
    except ValidationError:
        raise InputError(
            f"{cleaned(project)!r} is no name of a project: it must begin with a lower-case letter and go on with lower-case letters, digits or _ "
            "(63 at most)"
        ) from None


def _duration(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        duration: timedelta = TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise InputError(f"--matures-after {text!r}: {error.errors()[0]['ctx']['error']}") from None
    return duration


def _settle(*, yes: bool, asking: bool) -> Settle:
    from updraft.draft.question import settle_by_guess, settle_safely

    return settle_by_guess if yes else _ask if asking else settle_safely


def _ask(question: Question) -> str:
    """Ask a person, but for what can be guessed safely."""
    if question.guess is not None and question.is_safe:
        return question.guess
    console.print(f"{question.asks} {question.why}.", markup=False, soft_wrap=True)
    for choice in question.choices:
        console.print(f"  {cleaned(choice)}", markup=False, soft_wrap=True)
    answer: str = typer.prompt(question.flag, default=question.guess)
    return answer


def show(made: Draft) -> None:
    """Print what is understood of a table: its columns, the roles, the volume. No cell of it is shown, but the values of a label."""
    table = Shown(title=f"{made.rows:,} rows of {made.source.place}")
    for title in ("column", "type", "missing", "different", "used as"):
        table.add_column(title, justify="right" if title in ("missing", "different") else "left", overflow="fold")
    for column in made.columns.values():
        kind = "empty" if column.kind is None else "whole number" if column.is_whole else column.kind
        table.add_row(
            cleaned(column.name).replace("[", "\\["),
            kind,
            f"{column.missing / made.rows:.1%}" if column.missing else "",
            f"{column.distinct:,}",
            cleaned("; ".join(roles(made, column.name))).replace("[", "\\["),
        )
    console.print(table)
    for line in _understood(made):
        console.print(cleaned(line), markup=False, soft_wrap=True)


def roles(made: Draft, column: str) -> Iterator[str]:
    """What a column is used as, or why it is not."""
    if column == made.source.event_time:
        yield f"event time ({made.time_why})"
    if column in made.key.columns:
        yield "key"
    if column in made.label.columns:
        yield "label"
    elif column in made.label_candidates:
        yield "may be a label"
    if column in made.outcomes:
        yield f"outcome? {made.outcomes[column]}"
    if column in made.private:
        yield f"private? {made.private[column]}"
    if column in made.chosen.unused:
        yield f"not read: {made.chosen.unused[column]}"
    if any(feature.column == column for feature in made.chosen.features):
        kinds = {
            "number": "number",
            "category": "category",
            "hashed": "groups of texts, not tried for leaks",
            "words": "words of texts, not tried for leaks",
        }
        yield f"feature ({', '.join(kinds.get(feature.how, feature.name) for feature in made.chosen.features if feature.column == column)})"
    if made.columns[column].misfits:
        yield f"{made.columns[column].misfits:,} cells are no {made.columns[column].type.kind}: such rows are quarantined"


def _understood(made: Draft) -> Iterator[str]:
    label, volume, source = made.label, made.volume, made.source
    written = source.time_format or "ISO 8601, or as its type says"
    yield f"event time  {source.event_time}, written {written}, {source.time_zone or 'UTC unless it says a zone'}"
    if made.timeless:
        yield f"            {made.timeless:,} rows have none, and are in no partition"
    shared = f"; {made.key.shared:,} rows share theirs with another, and are quarantined" if made.key.shared else ""
    yield f"key         {', '.join(made.key.columns)}: {made.key.why}{shared}"
    mean = f"{label.mean:.1%} of" if label.task == BINARY.name else f"mean {label.mean:.4g} in"
    if label.classes:
        mean = f"{len(label.classes)} classes ({', '.join(label.classes[:_SHOWN])}{', …' * (len(label.classes) > _SHOWN)}) in"
    yield f"label       {label.expr} ({label.task}), {label.why}; {mean} {label.labelled:,} rows that have one"
    yield f"            known {shown_duration(label.matures_after)} after its row ({label.maturity}; --matures-after)"
    how = {
        key: value
        for key, value in (("decimal", source.decimal), ("encoding", source.encoding))
        if value not in (".", "utf-8")
    }
    if how or source.nulls:
        told = [f"{key} {value!r}" for key, value in how.items()] + (
            [f"missing is also written {', '.join(map(repr, source.nulls))}"] if source.nulls else []
        )
        yield f"files       {'; '.join(told)}"
    yield (
        f"schedule    {volume.schedule!r} ({volume.why}): {len(volume.rows)} partitions from {volume.start} to {volume.end}, "
        f"{volume.median:,.0f} rows in the median"
    )
    yield f"volume      {bars(volume.rows)}"
    if not volume.is_long_enough:
        yield (
            f"            the first model comes after {volume.first_after} partitions, and there are too few for it and a backtest: "
            "say a finer --schedule, or bring a longer history"
        )


def bars(counts: Sequence[int]) -> str:
    """Counts as a line of bars, several together where they are many."""
    group = -(-len(counts) // _WIDEST)
    means = [sum(counts[at : at + group]) / len(counts[at : at + group]) for at in range(0, len(counts), group)]
    most = max(means, default=0) or 1
    return "".join(_BARS[0 if not mean else max(1, round(mean / most * 8))] for mean in means)


def _next(made: Draft, *, sound: bool) -> Iterator[str]:
    if made.outcomes or made.private:
        yield "Look first at what is a guess: data.outcomes and data.private in project.yaml, and the limits in expectations.yaml."
    if not sound:
        yield f"Mend what stands above, then: updraft validate {made.name}"
        return
    if made.source.connection:
        variable = f"{VARIABLE}{made.source.connection.upper()}"
        yield (
            f"The project knows the database as connection {made.source.connection}: add it in Airflow (Admin, Connections), and for commands set "
            f"{variable} to its address, without ?table=. No file of the project has it."
        )
    yield "What to run next:"
    commands = {
        f"updraft validate {made.name}": "again, whenever you have changed a file",
        f"updraft backtest {made.name}": "what this policy would have cost and gained",
        "make up": "Airflow, where its DAGs are; where it runs already, they appear by themselves",
    }
    for command, what in commands.items():
        yield f"  {command:<{max(map(len, commands))}}   {what}"


def as_dict(made: Draft) -> dict[str, Any]:
    """JSON-able."""
    return {
        "rows": made.rows,
        "columns": {
            column.name: {
                "type": column.kind,
                "missing": column.missing,
                "different": column.distinct,
                "used_as": list(roles(made, column.name)),
            }
            for column in made.columns.values()
        },
        "event_time": {"column": made.source.event_time, "format": made.source.time_format, "why": made.time_why},
        "key": {"columns": list(made.key.columns), "why": made.key.why, "shared": made.key.shared},
        "label": {
            "expr": made.label.expr,
            "task": made.label.task,
            "why": made.label.why,
            "rows": made.label.labelled,
            "mean": made.label.mean,
            "classes": list(made.label.classes),
            "matures_after": shown_duration(made.label.matures_after),
            "candidates": list(made.label_candidates),
        },
        "outcomes": dict(made.outcomes),
        "private": dict(made.private),
        "unused": dict(made.chosen.unused),
        "features": [feature.name for feature in made.chosen.features],
        "schedule": made.volume.schedule,
        "volume": list(made.volume.rows),
    }
