"""``updraft promote`` and ``updraft admit``: a version of one environment enters another one, as a change."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from updraft.alerts.alert import cleaned
from updraft.cli.edge import UNHEALTHY, console, explained, find_project, loop_of, open_store, settings, who, write_json
from updraft.errors import InputError, StackError
from updraft.settings import BASE

Name = Annotated[str, typer.Argument(help="name of the project")]
_THERE_ALREADY = 409
"""HTTP status of Airflow's answer where a run of this id is there."""
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


def promote(
    project: Name,
    version: Annotated[str, typer.Argument(help="the version, as MLflow counts here")],
    to: Annotated[
        str, typer.Option(help="URL that the other environment reads, such as s3://models/promoted, or a folder")
    ],
    as_json: AsJson = False,
) -> None:
    """Write a version for another environment: signed model, proof, card, lineage, and each decision about it with its hash.

    It is one folder below the URL, signed as a whole with the key of this deployment. In the other environment `updraft admit` enters it:
    nothing serves there before it has proved itself there.

    Example: updraft promote flight_delays 7 --to s3://models/promoted
    """
    from updraft.control.bundle import write_bundle
    from updraft.registry.mlflow_registry import ModelRegistry

    with explained(), open_store() as store:
        loop = loop_of(find_project(project), store)
        registry = ModelRegistry(settings().mlflow, settings().home)
        url = write_bundle(loop, cleaned(version), registry, _url(to))
    if as_json:
        write_json({"project": project, "version": version, "environment": settings().environment or BASE, "url": url})
        return
    console.print(f"{project}: version {version} is written to {url}", markup=False, soft_wrap=True)
    entry = f"updraft admit {project} {url} --from {settings().environment or BASE} --reason …"
    console.print(f"in the other environment: {entry}", markup=False, soft_wrap=True)


def admit(
    project: Name,
    url: Annotated[str, typer.Argument(help="URL of the folder that `updraft promote` has written")],
    origin: Annotated[str, typer.Option("--from", help="the environment that it comes from; base where that has none")],
    reason: Annotated[str, typer.Option(help="why, for the record: it is kept in the decision")],
    as_json: AsJson = False,
) -> None:
    """Enter a version that `updraft promote` has written in another environment: as a change, in a shadow of its own.

    It is verified with that environment's public key, which a person has put to keys/environments/NAME/signing.pub.pem; the folder of the project
    has to be the same here. It is signed anew with the key of this deployment, and takes the way of every change: shadow, verdict,
    approval. Entering it again changes nothing. Ends with 3 where the DAG `release` could not be started for it.

    Example: updraft admit flight_delays s3://models/promoted/flight_delays-v7-0a1b2c3d4e5f --from staging --reason "better in staging since May"
    """
    from updraft.control.admission import admit as enter
    from updraft.registry.mlflow_registry import ModelRegistry

    with explained(), open_store() as store:
        if not (why := cleaned(reason).strip()):
            raise InputError(f"{project}: give a reason: it is kept in the decision")
        loop = loop_of(find_project(project), store)
        registry = ModelRegistry(settings().mlflow, settings().home)
        admitted = enter(loop, registry, _url(url), origin=cleaned(origin), by=who(), reason=why)
    not_started = _start_release(project, admitted.release)
    if as_json:
        write_json({**asdict(admitted), "release_started": not_started is None})
    else:
        came = f"version {admitted.origin_version} of {admitted.origin} is version {admitted.version} here"
        console.print(f"{project}: {came}, a change in shadow ({admitted.release})", markup=False, soft_wrap=True)
        if not_started is not None:
            console.print(f"wanted: {not_started}", markup=False, soft_wrap=True)
    if not_started is not None:
        raise typer.Exit(UNHEALTHY)


def _url(place: str) -> str:
    """A URL, or the absolute path of a folder as one."""
    from pathlib import Path

    return place if "://" in place else f"file://{Path(place).absolute()}"


def _start_release(project: str, release: str) -> str | None:
    """Start the DAG that takes a release on its way, once; what is to be done by hand where that cannot be done from here."""
    from updraft.airflow_api import AirflowRefused
    from updraft.stack.access import ADMIN, sign_in  # needs psutil, which the trainer's image has not
    from updraft.stack.layout import Layout

    known = settings()
    by_hand = (
        f"start {project}.release with the release {release}: it waits for the evidence, and asks for the approval"
    )
    layout = Layout.of(known)
    if not known.airflow or not layout.secrets.exists():
        return by_hand
    run = {
        "dag_run_id": release,
        "logical_date": None,
        "conf": {"release": release},
        "note": "started by updraft admit",
    }
    try:
        sign_in(layout, known.airflow, ADMIN).call("POST", f"/dags/{project}.release/dagRuns", run)
    except AirflowRefused as error:
        return None if error.status == _THERE_ALREADY else f"{by_hand} ({error})"
    except StackError as error:
        return f"{by_hand} ({error})"
    return None
