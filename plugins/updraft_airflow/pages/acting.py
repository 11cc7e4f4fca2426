"""What a person does to a project, asked for by a page or a script: each with a reason, and recorded in their name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from airflow.api.common.trigger_dag import trigger_dag
from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.exceptions import AirflowException
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from updraft.control import actions
from updraft_airflow.pages.access import Action, Permitted, acting, from_the_page_itself, sound_project, told_apart
from updraft_airflow.pages.api import kept_rows, now

router = APIRouter(
    prefix="/api/projects/{project}/actions", tags=["actions"], dependencies=[Depends(from_the_page_itself)]
)
Reason = Annotated[str, Field(min_length=1, max_length=2000, description="why, for the record")]
Version = Annotated[str, Field(pattern=r"^\d{1,12}$")]


class Asked(BaseModel):
    """What every action asks for."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class AskedChange(Asked):
    """A training that differs from the recipe."""

    parameters: Annotated[
        dict[str, str | int | float | bool], Field(min_length=1, description='such as {"max_depth": 4}')
    ]
    trainer: str | None = None


class AskedRollback(Asked):
    """Which version is to serve."""

    version: Version | None = None


class AskedIngestion(Asked):
    """Which partition is to be ingested."""

    partition: str


class AskedReadmission(Asked):
    """One partition, or every one that a sign keeps out."""

    partition: str | None = None
    sign: Annotated[str | None, Field(description="kind and column of a sign, such as `nulls|temp`")] = None
    always: bool = False


class AskedAnswer(Asked):
    """An answer to whether a release may be promoted."""

    release: str
    answer: Literal["approve", "reject"]


class Done(BaseModel):
    """What was done."""

    words: str
    run: str | None = None
    """Of the DAG that was started."""


@router.post("/train")
def train(project: Permitted, asked: Asked, user: GetUserDep) -> Done:
    """Train the recipe as it is, at the newest partition."""
    _acting("train", project, user)
    return _start(project, "train", user, asked.reason, {})


@router.post("/change")
def change(project: Permitted, asked: AskedChange, user: GetUserDep) -> Done:
    """Train with other parameters: a change, which is proved in shadow before it serves."""
    _acting("change", project, user)
    form: dict[str, Any] = {"parameters": asked.parameters}
    if asked.trainer is not None:
        form["trainer"] = asked.trainer
    return _start(project, "train", user, asked.reason, form)


@router.post("/rollback")
def rollback(project: Permitted, asked: AskedRollback, user: GetUserDep) -> Done:
    """Compare the champion with an earlier version, and ask under Required actions whether that one is to serve."""
    _acting("rollback", project, user)
    return _start(project, "rollback", user, asked.reason, {"version": asked.version})


@router.post("/ingest")
def ingest(project: Permitted, asked: AskedIngestion, user: GetUserDep) -> Done:
    """Read a partition's sources again, and publish what they bring in the place of what is there."""
    _acting("ingest", project, user)
    with told_apart(422):
        key = actions.partition_to_ingest(sound_project(project), asked.partition, now())
    return _start(project, "ingest", user, asked.reason, {}, partition=key)


@router.post("/readmit")
def readmit(project: Permitted, asked: AskedReadmission, user: GetUserDep) -> Done:
    """Let trainings learn again from what was kept out: it is right as it is."""
    _acting("readmit", project, user)
    loop, by = sound_project(project), user.get_name()
    if (asked.partition is None) == (asked.sign is None):
        raise HTTPException(422, "name one partition, or one sign")
    with told_apart(422):
        if asked.partition is not None:
            return Done(words=actions.readmit_partition(loop, asked.partition, by=by, reason=asked.reason))
        kind, _, column = str(asked.sign).partition("|")
        words = actions.readmit_sign(loop, (kind, column or None), always=asked.always, by=by, reason=asked.reason)
        return Done(words=words)


@router.post("/stop")
def stop(project: Permitted, asked: Asked, user: GetUserDep) -> Done:
    """Start no training by itself and refit no layer, until that is taken back."""
    _acting("stop", project, user)
    with told_apart(422):
        return Done(words=actions.stop(sound_project(project), by=user.get_name(), reason=asked.reason))


@router.post("/resume")
def resume(project: Permitted, asked: Asked, user: GetUserDep) -> Done:
    """Let trainings and recalibrations go on."""
    _acting("resume", project, user)
    with told_apart(422):
        return Done(words=actions.resume(sound_project(project), by=user.get_name(), reason=asked.reason))


@router.post("/answer")
def answer(project: Permitted, asked: AskedAnswer, user: GetUserDep) -> Done:
    """Approve or reject a release: it answers Airflow's own question, by Airflow's own rules."""
    _acting("answer", project, user)
    with told_apart(422):
        reason = actions.reason_given(project, asked.reason)
    dag = f"{project}.release"
    with create_session() as session:
        waiting = session.execute(
            select(TaskInstance, DagRun.conf, HITLDetail.params)
            .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
            .join(DagRun, (DagRun.dag_id == TaskInstance.dag_id) & (DagRun.run_id == TaskInstance.run_id))
            .where(TaskInstance.dag_id == dag, HITLDetail.responded_at.is_(None))
        ).all()
        about = [
            row for row in waiting if str((row.conf or {}).get("release") or row.TaskInstance.run_id) == asked.release
        ]
        if not about:
            raise HTTPException(409, f"nobody is asked about {asked.release} now: it was answered, or is not there yet")
        asking, params = about[0].TaskInstance, about[0].params
        chosen = "Approve" if asked.answer == "approve" else "Reject"
        # A question that was asked before it had a field for the reason takes none.
        given = {"reason": reason} if "reason" in (params or {}) else {}
        payload = UpdateHITLDetailPayload(chosen_options=[chosen], params_input=given)
        update_hitl_detail(dag, asking.run_id, asking.task_id, payload, user, session, asking.map_index)
    return Done(
        words=f"{asked.release}: {'approved' if asked.answer == 'approve' else 'rejected'}; Airflow goes on with it"
    )


def _acting(action: Action, project: str, user: GetUserDep) -> None:
    """Let only those on who may do it; what the fleet's page shows of the project is read anew after it."""
    acting(action, project, user)
    kept_rows().forget(project)


def _start(
    project: str, stage: str, user: GetUserDep, reason: str, form: dict[str, Any], *, partition: str | None = None
) -> Done:
    """Start a DAG as its form in Airflow does.

    :param partition: the key that the run is of, of a DAG whose runs are of partitions.
    """
    with told_apart(422):
        why = actions.reason_given(project, reason)
    dag = f"{project}.{stage}"
    try:
        run = trigger_dag(
            dag,
            triggered_by=DagRunTriggeredByType.REST_API,
            triggering_user_name=user.get_name(),
            conf={**form, "reason": why},
            partition_key=partition,
        )
    except (AirflowException, ValueError) as error:
        raise HTTPException(422, str(error)) from error
    if run is None:
        raise HTTPException(409, f"{dag} was not started")
    of_partition = f" for {partition}" if partition is not None else ""
    return Done(words=f"{dag} was started{of_partition}", run=run.run_id)
