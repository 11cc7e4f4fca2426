"""``updraft schema``: which type each column of a project's sources has, and who said so."""

from __future__ import annotations

from typing import Annotated

import typer

from updraft.cli.edge import console, explained, find_project, settings, write_json
from updraft.data.contract import Contract, load_contract
from updraft.data.pinned import SchemaOf, read_schema
from updraft.data.schema import ColumnType
from updraft.lake.places import Lake
from updraft.spec.model import Project


def schema_command(
    project: Annotated[str, typer.Argument(help="name of the project")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Show the type to which each column of a project's sources is read, and where it comes from: a type that is not right
    is stated under `columns` in expectations.yaml.

    Example: updraft schema flight_delays
    """
    with explained():
        chosen = find_project(project)
        contract, lake = load_contract(chosen), Lake(settings().lake, chosen.name)
        schemas = {source: _types(chosen, contract, lake, source) for source in chosen.spec.data.sources}
    if as_json:
        types = {
            source: {column: kind.to_dict() for column, kind in kinds.items()} for source, kinds in schemas.items()
        }
        write_json({"project": project, "sources": types})
        return
    for source, columns in schemas.items():
        console.print(f"{source}:" if columns else f"{source}: no partition of it has been ingested yet", markup=False)
        width = max(map(len, columns), default=0)
        for column, kind in columns.items():
            console.print(f"  {column:<{width}}  {kind.kind:<8} {_origin(kind)}", markup=False, soft_wrap=True)


def _types(project: Project, contract: Contract, lake: Lake, source: str) -> dict[str, ColumnType]:
    """What was written down, and above it what the project says of the columns that it names."""
    pinned = read_schema(lake, source)
    named = {*contract.of(source).columns, *pinned}
    schema = SchemaOf(project, contract, source, lake)
    event_time = project.spec.data.sources[source].event_time
    types = {column: schema.named(column) or pinned.get(column) for column in sorted(named | {event_time or ""})}
    return {column: kind for column, kind in types.items() if kind is not None and column}


def _origin(kind: ColumnType) -> str:
    if kind.origin == "stated":
        return "stated in the contract"
    if kind.origin == "role":
        return "by what the project uses it for"
    return f"told by the file of partition {kind.since}"
