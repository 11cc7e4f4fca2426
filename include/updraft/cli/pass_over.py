"""``updraft pass-over``: a partition that is wanted stays unpublished, says a person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from updraft.alerts.alert import cleaned
from updraft.cli.edge import console, explained, find_project, loop_of, open_store, who, write_json
from updraft.loop.alerting import partition_alerts
from updraft.loop.unpublished import pass_over


def pass_over_command(
    project: Annotated[str, typer.Argument(help="name of the project")],
    partitions: Annotated[list[str], typer.Argument(help="keys of partitions, such as 2013-03-04T0500")],
    reason: Annotated[str, typer.Option(help="why, for the record")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Leave partitions unpublished that were refused, failed, or never came: `updraft status` wants them no more.

    A decision like any other, recorded with who and why. A partition that is mended and published later counts as any other.

    Example: updraft pass-over flight_delays 2013-03-04T0500 --reason "the airport lost that week"
    """
    with explained(), open_store() as store:
        loop = loop_of(find_project(project), store)
        keys = [cleaned(key) for key in partitions]
        pass_over(store, loop.spec, keys, by=who(), reason=cleaned(reason), now=datetime.now(UTC))
        for key in keys:
            partition_alerts.partition_passed_over(loop, key, who(), cleaned(reason))
    if as_json:
        write_json({"project": project, "partitions": keys, "reason": reason})
        return
    for key in keys:
        console.print(f"{project}: partition {key} is passed over", markup=False, soft_wrap=True)
