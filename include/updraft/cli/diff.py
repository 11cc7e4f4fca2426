"""``updraft diff``: what a project has otherwise in one environment than in another."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from updraft.cli.edge import console, explained, project_folder, write_json


def diff(
    project: Annotated[str, typer.Argument(help="name of the project")],
    one: Annotated[str, typer.Argument(help="an environment, or base: project.yaml alone")],
    other: Annotated[str, typer.Argument(help="another one")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Tell what differs for a project between two environments: each key with both values, as they hold there, defaults included.

    Example: updraft diff flight_delays base staging
    """
    from updraft.spec.environment_differences import environment_differences

    with explained():
        differences = environment_differences(project_folder(project), one, other)
    if as_json:
        keys = [
            {"key": difference.key, one: difference.values[0], other: difference.values[1]}
            for difference in differences
        ]
        write_json({"project": project, "environments": [one, other], "differences": keys})
    elif not differences:
        console.print(f"{project}: nothing differs between {one} and {other}", markup=False)
    else:
        table = Table("key", one, other, title=f"{project}: what differs between {one} and {other}")
        for difference in differences:
            table.add_row(difference.key, *map(_shown, difference.values))
        console.print(table)


def _shown(value: Any) -> Text:
    if value is None:
        return Text("-")
    return Text(value if isinstance(value, str) else json.dumps(value))
