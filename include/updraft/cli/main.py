"""The command line: every command of ``updraft``, by the room that does it."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from dataclasses import asdict
from typing import Annotated

import typer

from updraft.cli import backtest as backtest_command
from updraft.cli import backup as backup_command
from updraft.cli import compare as compare_command
from updraft.cli import cost as cost_command
from updraft.cli import diff as diff_command
from updraft.cli import explain as explain_command
from updraft.cli import figures as figures_command
from updraft.cli import forget as forget_command
from updraft.cli import init as init_command
from updraft.cli import keys as keys_command
from updraft.cli import lineage as lineage_command
from updraft.cli import pass_over as pass_over_command
from updraft.cli import promotion as promotion_command
from updraft.cli import quarantine as quarantine_command
from updraft.cli import readmit as readmit_command
from updraft.cli import replay as replay_command
from updraft.cli import reproduce as reproduce_command
from updraft.cli import returning as returning_command
from updraft.cli import rightsize as rightsize_command
from updraft.cli import schema as schema_command
from updraft.cli import show as show_command
from updraft.cli import status as status_command
from updraft.cli import validate as validate_command
from updraft.cli.audit import audit_app
from updraft.cli.edge import (
    FAILED,
    OK,
    UNHEALTHY,
    console,
    enter,
    explained,
    settings,
    wait_for_mlflow,
    write_json,
)
from updraft.cli.remedies import remedies_app
from updraft.errors import InputError, TrainingError

app = typer.Typer(
    name="updraft",
    help="Keeps machine-learning models fresh. Exit codes: 0 done, 1 failed, 2 wrong input, 3 something needs attention, "
    "75 a training was asked to end and goes on when it is run again.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train_app = typer.Typer(help="Training jobs.", no_args_is_help=True)
app.add_typer(train_app, name="train")
app.add_typer(audit_app, name="audit")
app.add_typer(keys_command.app, name="keys")
app.add_typer(quarantine_command.app, name="quarantine")
app.add_typer(remedies_app, name="remedies")

app.command("init")(init_command.init)
app.command("validate")(validate_command.validate)
app.command("status")(status_command.status)
app.command("figures")(figures_command.figures)
app.command("cost")(cost_command.cost)
app.command("show")(show_command.show)
app.command("diff")(diff_command.diff)
app.command("lineage")(lineage_command.lineage_command)
app.command("reproduce")(reproduce_command.reproduce_command)
app.command("compare")(compare_command.compare_command)
app.command("explain")(explain_command.explain_command)
app.command("promote")(promotion_command.promote)
app.command("admit")(promotion_command.admit)
app.command("replay")(replay_command.replay)
app.command("backtest")(backtest_command.backtest)
app.command("rollback")(returning_command.rollback)
app.command("reinstate")(returning_command.reinstate)
app.command("readmit")(readmit_command.readmit)
app.command("pass-over")(pass_over_command.pass_over_command)
app.command("forget")(forget_command.forget_command)
app.command("rightsize")(rightsize_command.rightsize_command)
app.command("schema")(schema_command.schema_command)
app.command("backup")(backup_command.backup)
app.command("restore")(backup_command.restore)

AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


@train_app.command("run")
def train_run(
    request: Annotated[str, typer.Argument(help="path or URL of the request")], as_json: AsJson = False
) -> None:
    """Train what a request file asks for; resumes after a kill, and takes the result of an equal request that is done.

    SIGTERM ends it at its next checkpoint, with 75.

    Example: updraft train run var/lake/flight_delays/trainings/RUN/request.json
    """
    from updraft.jobs.contract import TrainingRequest
    from updraft.jobs.group import Place
    from updraft.jobs.run import follow_training, run_training

    # Standard error: --json keeps standard output for itself. The log of a pod is made of these lines.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    wait_for_mlflow(os.environ)
    with explained():
        try:
            TrainingRequest.read(request)
        except TrainingError as error:
            raise InputError(str(error)) from error
        place = Place.of()
        if place is not None and place.rank > 0:
            follow_training(request, place)
            return
        result = run_training(request)
    if as_json:
        write_json(result.model_dump(mode="json"))
        return
    console.print(
        f"{result.project} at {result.key}: {result.rounds} rounds on {result.rows:,} rows in {result.seconds:.1f} s"
    )
    console.print(f"model {result.model_url} ({result.model_sha256[:12]})", soft_wrap=True)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Look at this deployment: Python, disk, ports, databases, buckets, MLflow, Airflow, keys. Ends with 3 when something needs attention.

    Example: updraft doctor --json
    """
    from updraft.stack.outside import diagnose_outside, stands_outside

    with explained():
        deployment = settings()
        if stands_outside(deployment, os.environ):
            findings = diagnose_outside(deployment, os.environ)
        else:
            from updraft.stack.doctor import diagnose

            findings = diagnose(deployment)
    if as_json:
        write_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            todo = f" - {finding.todo}" if finding.todo else ""
            console.print(
                f"{finding.level:<8} {finding.what:<18} {finding.message}{todo}", markup=False, soft_wrap=True
            )
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(UNHEALTHY)


def main() -> None:
    """Entry point of the command."""
    enter(os.environ)
    try:
        app()
    except KeyboardInterrupt:
        console.print("interrupted; start it again and it goes on where it was")
        code: object = FAILED
    except SystemExit as done:
        code = done.code
    except Exception:  # noqa: BLE001 a bug of ours: told in full, and the guard below holds here too
        traceback.print_exc()
        code = FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    # DuckDB's binding reports its own objects as leaked when the interpreter is torn down; everything of ours is closed by now.
    os._exit(code if isinstance(code, int) else OK if code is None else FAILED)
