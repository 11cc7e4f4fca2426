"""The rollout of a registered model: staging, lane, approval, promotion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseBranchOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from updraft.errors import ApprovalMissing, ReleaseClosed
from updraft_airflow.deployment import open_loop, registry, settings
from updraft_airflow.hooks.slack import deliver_alerts
from updraft_airflow.links import PICTURE, EvidenceLink, VersionLink
from updraft_airflow.operators.step import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.context import Loop

RELEASE = "{{ params.release }}"


class CheckStaging(StepOperator):
    """Loads the version as scoring would, verified, and lets it score the newest partition."""

    operator_extra_links = (VersionLink(),)

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Version and what it scored."""
        from updraft.loop import tell
        from updraft.loop.rollout import check_staging

        found = check_staging(loop, context["params"]["release"])
        return {**found, "version_url": tell.version_url(loop, found["version"])}


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

    def __init__(self, *, project: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = project

    def execute(self, context: Context) -> Any:
        """Ask, unless the answer is there, the policy wants none, or there is nothing to ask about."""
        from updraft.loop import tell
        from updraft.loop.evidence import write_picture
        from updraft.loop.rollout import approval_of, asks_for_approval, was_promoted

        loop = open_loop(self.project)
        release = context["params"]["release"]
        row = loop.store.release(release)
        picture = write_picture(loop, release)
        context["ti"].xcom_push(key=PICTURE, value=picture)
        answered = approval_of(loop, release)
        if answered is not None:
            self.log.info(
                "Answered by %s already: %s",
                answered.body["by"],
                "approved" if answered.body["approved"] else "rejected",
            )
            if not answered.body["approved"]:
                raise AirflowSkipException(f"rejected by {answered.body['by']}")
            return None
        if row.state == "closed" and not was_promoted(loop, release):
            raise AirflowSkipException(f"{release} is closed: {row.reason}")
        if not asks_for_approval(loop, row):
            self.log.info("The policy asks for no approval in lane %s", row.lane)
            return None
        loop.store.move_release(release, to="approval", key=row.opened_at, only=("shadow",))
        if picture is not None:
            self.body: str = f"{self.body}\n\n[Evidence]({settings().airflow}{EvidenceLink.page(loop.name, picture)})"
        tell.approval_wanted(
            loop,
            release,
            f"{tell.dag_url(loop, 'release', context['dag_run'].run_id)}/tasks/{self.task_id}/required_actions",
        )
        deliver_alerts(loop)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Write the answer down, then go on as Airflow does."""
        from updraft.loop.auditing import tell_head
        from updraft.loop.monitor import MONITOR
        from updraft.loop.rollout import record_approval

        loop = open_loop(self.project)
        release = context["params"]["release"]
        if "error" not in event:
            user = event.get("responded_by_user") or {}
            by = (
                str(user.get("name") or user.get("id") or "nobody: no answer in time")
                if isinstance(user, dict)
                else str(user)
            )
            key = loop.store.seen(loop.name).get(MONITOR) or loop.store.release(release).opened_at
            approved = record_approval(
                loop, release, approved=event["chosen_options"] == [self.APPROVE], by=by, key=key
            )
            self.log.info("%s by %s", "Approved" if approved else "Rejected", by)
            tell_head(loop, registry())
        return super().execute_complete(context, event)


class PromoteModel(StepOperator):
    """Makes the version champion: one row in the store, then MLflow's aliases."""

    operator_extra_links = (VersionLink(), EvidenceLink())

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Version, and the tick at which it was promoted."""
        from updraft.loop import tell
        from updraft.loop.evidence import write_picture
        from updraft.loop.rollout import need_approval, promote, promotion_key, was_promoted

        release = context["params"]["release"]
        row = loop.store.release(release)
        if row.state == "closed" and not was_promoted(loop, release):
            raise AirflowSkipException(f"{release} is closed: {row.reason}")
        try:
            need_approval(loop, release)
        except ApprovalMissing as error:
            raise AirflowFailException(str(error)) from error
        key = promotion_key(loop, row)
        reason = row.reason or "its proof on the holdout passed the gates"
        try:
            promote(loop, release, key, reason)
        except ReleaseClosed as error:  # a newer one took its place in this very moment
            raise AirflowSkipException(str(error)) from error
        tell.of_release(loop, release)
        self.log.info("Version %s serves: %s", row.version, reason)
        return {
            "version": row.version,
            "version_url": tell.version_url(loop, row.version),
            "key": key,
            PICTURE: write_picture(loop, release),
        }
