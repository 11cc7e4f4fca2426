"""``updraft rollback`` and ``updraft reinstate``: a version that served before serves again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import sqlalchemy as sa
import typer

from updraft.alerts import slack
from updraft.alerts.alert import cleaned
from updraft.alerts.connection import slack_client
from updraft.cli.edge import (
    FAILED,
    ask_mlflow_once,
    console,
    errors,
    explained,
    find_project,
    loop_of,
    open_store,
    settings,
    who,
    write_json,
)
from updraft.errors import InputError
from updraft.loop.auditing import tell_head
from updraft.loop.context import Loop
from updraft.loop.returning import Return, carry_out, plan_reinstatement, plan_rollback

Name = Annotated[str, typer.Argument(help="name of the project")]
Reason = Annotated[str, typer.Option(help="why, for the record: it is kept in the decision")]
Yes = Annotated[bool, typer.Option("--yes", help="do it without asking")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


def rollback(
    project: Name,
    reason: Reason,
    to: Annotated[
        str | None, typer.Option(help="the version that is to serve; left out: what served before the champion")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take back what serves, and let an earlier version serve. Shows both versions' recent losses, and asks.

    A decision like any other: recorded, chained, told to on-call at once. What was taken back does not come back by itself; see `updraft reinstate`.

    Example: updraft rollback flight_delays --to 3 --reason "scores too high since Monday"
    """
    wanted = None if to is None else cleaned(to)
    _return(project, reason, lambda loop: plan_rollback(loop, wanted), yes=yes, as_json=as_json)


def reinstate(
    project: Name,
    version: Annotated[str, typer.Argument(help="a version that was taken back")],
    reason: Reason,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let a version serve again that was taken back. Shows both versions' recent losses, and asks.

    Example: updraft reinstate flight_delays 4 --reason "the feed was broken, not the model"
    """
    wanted = cleaned(version)
    _return(project, reason, lambda loop: plan_reinstatement(loop, wanted), yes=yes, as_json=as_json)


def _return(project: str, reason: str, plan: Callable[[Loop], Return], *, yes: bool, as_json: bool) -> None:
    from updraft.registry.mlflow_registry import ModelRegistry

    ask_mlflow_once(os.environ)
    with explained(), open_store() as store:
        loop = loop_of(find_project(project), store)
        planned = plan(loop)
        if not as_json or not yes:
            for line in planned.lines():
                errors.print(cleaned(line), markup=False, soft_wrap=True)
        if not yes and not _agreed(planned):
            errors.print("nothing was changed")
            raise typer.Exit(FAILED)
        aliases = carry_out(loop, planned, by=who(), reason=cleaned(reason))
        told = _tell(loop)
        tell_head(loop, ModelRegistry(settings().mlflow, settings().home))
    if as_json:
        write_json(planned.as_dict() | {"champion": aliases["champion"], "previous": aliases["previous"], "told": told})
    else:
        console.print(planned.done, markup=False, soft_wrap=True)
        console.print(told, markup=False, soft_wrap=True)


def _agreed(planned: Return) -> bool:
    """Ask the person at the terminal.

    :raises InputError: when there is none.
    """
    if not sys.stdin.isatty():
        raise InputError(f"{planned.question} There is no terminal to ask on; add --yes where that is meant")
    return typer.confirm(planned.question, err=True)


def _tell(loop: Loop) -> str:
    """Send what on-call is to hear, where Slack is known to this process; what became of it, in words."""
    client = slack_client(os.environ)
    if client is None or loop.spec.alerts.slack is None:
        return "on-call: the alert stands in the store, and the next task of Airflow sends it"
    try:
        return f"on-call: {slack.deliver(loop.store.engine, client, loop.spec)}"
    except sa.exc.SQLAlchemyError as error:  # it is decided: telling it does not undo that
        return f"on-call: the alert waits ({type(error).__name__}), and the next task of Airflow sends it"
