"""The rollout of a registered model: staging, lane, approval, promotion."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseBranchOperator, Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput

from updraft.alerts.alert import cleaned
from updraft.errors import ApprovalMissing, NotProved, ReleaseClosed, TrainingError
from updraft_airflow.deployment import open_loop, registry
from updraft_airflow.hooks.slack import deliver_alerts
from updraft_airflow.links import PICTURE, EvidenceLink, VersionLink
from updraft_airflow.operators.step import StepOperator
from updraft_airflow.triggers.approval import WITHDRAWN, ApprovalTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.context import Loop

log = logging.getLogger(__name__)

RELEASE = "{{ params.release }}"


class CheckStaging(StepOperator):
    """Loads the version as scoring would, verified, and lets it score the newest partition."""

    operator_extra_links = (VersionLink(),)

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Version and what it scored."""
        from updraft.loop.alerting.links import version_url
        from updraft.loop.release import check_staging

        staged = check_staging(loop, context["params"]["release"])
        return {**staged, "version_url": version_url(loop, staged["version"])}


class ChooseLane(BaseBranchOperator):
    """Follows the lane that the registration decided."""

    def __init__(self, *, project: str, lanes: dict[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.lanes = lanes

    def choose_branch(self, context: Context) -> str:
        """The first task of the lane."""
        row = open_loop(self.project).store.release(context["params"]["release"])
        self.log.info("%s goes through lane %s", row.id, row.lane)
        return self.lanes[row.lane]


class ApproveRelease(ApprovalOperator):
    """Asks a person; the answer is written to the store before anything else, so that clearing the task does not lose it."""

    operator_extra_links = (EvidenceLink(),)

    def __init__(self, *, project: str, params: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        why = Param("", type="string", maxLength=2000, title="Reason", description="why, for the record")
        of_dag = (
            dict(params.items()) if params else {}
        )  # Airflow hands the DAG's own over; as items they are not resolved to values
        super().__init__(params={**of_dag, "reason": why}, **kwargs)
        self.project = project

    @staticmethod
    def _why(event: dict[str, Any]) -> str:
        """The reason that a person gave with the answer; empty without one."""
        return cleaned(str((event.get("params_input") or {}).get("reason") or "")).strip()

    def execute(self, context: Context) -> Any:
        """Ask, unless the answer is there, the policy wants none, or there is nothing to ask about."""
        from updraft.loop.alerting import release_alerts
        from updraft.loop.alerting.links import dag_url
        from updraft.loop.approval_question import approval_question
        from updraft.loop.evidence import write_picture
        from updraft.loop.release import ask_for_approval
        from updraft.store.transitions import Act

        loop = open_loop(self.project)
        release = context["params"]["release"]
        picture = write_picture(loop, release)
        context["ti"].xcom_push(key=PICTURE, value=picture)
        step = ask_for_approval(loop, release)
        if step.act in (Act.GONE, Act.REJECT):
            raise AirflowSkipException(f"{release} is closed: {step.reason}")
        if step.act is not Act.ASK:
            self.log.info("Nobody is to be asked: %s", step.reason)
            return None
        now, self.response_timeout = datetime.now(UTC), loop.spec.release.change.approval_timeout
        question = approval_question(loop, release, now, now + self.response_timeout, self._links(loop, release))
        self.subject, self.body = question.subject, question.body
        release_alerts.of_release(loop, release)
        release_alerts.approval_wanted(
            loop,
            release,
            f"{dag_url(loop, 'release', context['dag_run'].run_id)}/tasks/{self.task_id}/required_actions",
        )
        deliver_alerts(loop)
        try:
            return super().execute(context)
        except TaskAwaitingInput:  # Airflow would wait for a person alone, even where there is nothing to ask any more
            self.defer(trigger=self._trigger(context, release), method_name="execute_complete")

    def _trigger(self, context: Context, release: str) -> ApprovalTrigger:
        until = None if self.response_timeout is None else datetime.now(UTC) + self.response_timeout
        return ApprovalTrigger(
            project=self.project,
            release=release,
            ti_id=context["ti"].id,
            options=self.options,
            defaults=self.defaults,
            params=self.serialized_params,
            timeout_datetime=until,
        )

    @staticmethod
    def _links(loop: Loop, release: str) -> dict[str, str]:
        """Where a person sees more; without the card where MLflow does not say where it is."""
        from updraft.loop.alerting.links import evidence_url, version_url

        version = loop.store.release(release).version
        links = {"Evidence": evidence_url(loop, release), "Model": version_url(loop, version)}
        training = loop.store.training_of(loop.name, version)
        run = training.result.get("mlflow_run_id") if training else None
        if run:
            try:
                links["Model card"] = registry().page_url(run)
            except TrainingError as error:
                log.warning("The question does not link to the model card: %s", error)
        return links

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Write the answer down, then go on as Airflow does. A question that was withdrawn skips what comes after it.

        There is no default among the answers, as the UI would show it as the one to give: when time is up, this says no.

        :raises AirflowFailException: when a person said yes to a release that was closed meanwhile, with the reason.
        """
        from updraft.loop.alerting import release_alerts
        from updraft.loop.auditing import tell_head
        from updraft.loop.release import answer, next_step
        from updraft.release.states import Answer

        loop = open_loop(self.project)
        release = context["params"]["release"]
        late, withdrawn = event.get("error_type") == "timeout", event.get(WITHDRAWN)
        if late or "error" not in event:
            given = (
                Answer(False, None)
                if late
                else Answer(
                    event["chosen_options"] == [self.APPROVE], name_of(event.get("responded_by_user")), self._why(event)
                )
            )
            promotable = not withdrawn and answer(loop, release, given)
            release_alerts.of_release(loop, release)
            tell_head(loop, registry())
            deliver_alerts(loop)
            if withdrawn:
                raise AirflowSkipException(f"{release}: the question is withdrawn, as it is void: {withdrawn}")
            if given.approved and not promotable:
                raise AirflowFailException(
                    f"{release}: the approval of {given.by} comes too late, nothing is promoted: {next_step(loop, release).reason}"
                )
            self.log.info("%s by %s", "Approved" if promotable else "Not approved", given.by or "nobody in time")
        if late:
            raise AirflowSkipException(f"{release} is closed: nobody answered in time")
        return super().execute_complete(context, event)


def name_of(user: object) -> str | None:
    """Who answered; None when nobody did in time, and Airflow took the default."""
    if isinstance(user, dict):
        user = user.get("name") or user.get("id")
    return str(user) if user else None


class PromoteModel(StepOperator):
    """Makes the version champion: one row in the store, then MLflow's aliases."""

    operator_extra_links = (VersionLink(), EvidenceLink())

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Version, and the tick at which it was promoted."""
        from updraft.loop.alerting import release_alerts
        from updraft.loop.alerting.links import version_url
        from updraft.loop.evidence import write_picture
        from updraft.loop.release import is_approved, promote

        release = context["params"]["release"]
        try:
            promotion = promote(loop, release)
        except (ApprovalMissing, NotProved) as error:
            raise AirflowFailException(str(error)) from error
        except ReleaseClosed as error:
            if is_approved(loop, release):
                raise AirflowFailException(f"the approval comes too late, nothing is promoted: {error}") from error
            raise AirflowSkipException(str(error)) from error
        release_alerts.of_release(loop, release)
        version = str(promotion.body["version"])
        self.log.info("Version %s serves since %s: %s", version, promotion.key, promotion.body["reason"])
        return {
            "version": version,
            "version_url": version_url(loop, version),
            "key": promotion.key,
            PICTURE: write_picture(loop, release),
        }
