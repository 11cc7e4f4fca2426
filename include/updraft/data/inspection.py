"""Does project.yaml fit its sources? Looks at their columns, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches

from updraft.data import sources
from updraft.data.duck import connection, literal, name
from updraft.data.extraction import check_label, check_mentions, check_roles, wanted_columns
from updraft.data.partitions import partitions
from updraft.errors import DataError
from updraft.spec.model import Project


@dataclass(frozen=True)
class Inspection:
    """What was found."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    """What could not be looked at, and why."""


def inspect_sources(project: Project) -> Inspection:
    """Hold every column that project.yaml names against the sources; all problems at once."""
    try:
        check_roles(project)
    except DataError as error:
        return Inspection((str(error),), ())
    problems: list[str] = []
    notes: list[str] = []
    columns: dict[str, Mapping[str, str]] = {}
    with connection() as con:
        for source, spec in project.spec.data.sources.items():
            key = _key(project, source)
            if key is None:
                notes.append(
                    f"source {source}: no file {spec.url} for any partition yet, so its columns were not checked"
                )
                continue
            try:
                columns[source] = sources.header(con, spec, source, key)
            except DataError as error:
                notes.append(f"{error}; its columns were not checked")
                continue
            problems += _absent(project, source, columns[source])
        row_source = next(iter(project.spec.data.sources))
        if row_source in columns and not problems:
            table = ", ".join(f"CAST(NULL AS {kind}) AS {name(column)}" for column, kind in columns[row_source].items())
            try:
                check_label(con, project, f"(SELECT {table})", columns[row_source])
            except DataError as error:
                problems.append(str(error))
    if len(columns) == len(project.spec.data.sources):
        try:
            check_mentions(project, columns)
        except DataError as error:
            problems.append(str(error))
        problems += _slices(project, columns)
    return Inspection(tuple(problems), tuple(notes))


def _key(project: Project, source: str) -> str | None:
    """The newest partition that the source has a file for."""
    keys = [one.key for one in partitions(project.spec, datetime.now(UTC))]
    url = project.spec.data.sources[source].url
    if "{key}" not in url:
        return keys[-1] if keys else project.spec.data.start.strftime("%Y-%m-%dT0000")
    return next((key for key in reversed(keys) if sources.is_there(url, source=source, key=key)), None)


def _absent(project: Project, source: str, columns: Mapping[str, str]) -> list[str]:
    url = project.spec.data.sources[source].url
    found = []
    for wanted, what in wanted_columns(project, source):
        for column in wanted:
            if column not in columns:
                near = get_close_matches(column, columns, 1)
                guess = f"; did you mean {near[0]!r}?" if near else f"; its columns are {', '.join(columns)}"
                found.append(f"{what}: {url} has no column {column!r}{guess}")
    return found


def _slices(project: Project, columns: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Slices are made by columns of published partitions: those of the row source, and ``<source>_<column>`` of what it joins."""
    row_source, *others = columns
    outcomes = set(project.spec.data.outcomes)
    known = [*columns[row_source], *(f"{other}_{column}" for other in others for column in columns[other])]
    known = [column for column in known if column not in outcomes]
    found = []
    for column in project.spec.gates.slices.by if project.spec.gates.slices else ():
        if column not in known:
            near = get_close_matches(column, known, 1)
            guess = f"; did you mean {literal(near[0])}?" if near else f"; there are {', '.join(known)}"
            found.append(f"gates.slices.by: no published column {column!r}{guess}")
    return found
