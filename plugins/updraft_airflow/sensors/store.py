"""Deferrable sensors: `watch` waits for a remedy to be due, `release` for evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from updraft_airflow.deployment import open_loop, registry
from updraft_airflow.hooks.slack import deliver_alerts
from updraft_airflow.links import PICTURE, EvidenceLink
from updraft_airflow.triggers.store import StoreTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.sensor_looks import Question


class _StoreSensor(BaseSensorOperator):
    """Defers to :class:`StoreTrigger`; never ends by itself, as a release may take months and a watch for ever."""

    question: Question
    template_fields: Sequence[str] = ("subject",)

    def __init__(self, *, project: str, subject: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.subject = subject

    def execute(self, context: Context) -> Any:
        """Act at once where there is something to do already; else wait without a worker."""
        return self._go_on(context)

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """Woken by the trigger: look again, as the state may have moved on."""
        self.log.info("Woken at %s", event.get("key"))
        return self._go_on(context)

    def _go_on(self, context: Context) -> Any:
        from updraft.loop.sensor_looks import ask

        _, act = ask(open_loop(self.project), self.question, self.subject)
        return self.conclude(context) if act else self.wait()

    def wait(self) -> NoReturn:
        """Give the worker back until there is something to do."""
        trigger = StoreTrigger(self.project, self.question, self.subject)
        raise TaskDeferred(trigger=trigger, method_name="resume", timeout=None)

    def conclude(self, context: Context) -> Any:
        """What to do when the wait is over."""
        raise NotImplementedError(type(self).__name__)


class DriftSensor(_StoreSensor):
    """Waits until the policy calls for a remedy that is a training; hands over the episode."""

    question: Question = "remedy"

    def conclude(self, context: Context) -> dict[str, Any]:
        """The episode, and the form that `train` is started with."""
        from updraft.loop.sensor_looks import due_episode

        episode = due_episode(open_loop(self.project))
        if episode is None:
            raise AirflowSkipException("somebody else started the remedy")
        self.log.info("%s: %s", episode.id, episode.diagnosis.get("words"))
        form = {"partition": episode.opened_at, "episode": episode.id, "reason": episode.diagnosis.get("words", "")}
        return {"episode": episode.id, "form": form}


class EvidenceSensor(_StoreSensor):
    """Waits for the evidence on a release: the verdict of a shadow, or the end of a probation; writes what it concludes."""

    question: Question = "release"
    operator_extra_links = (EvidenceLink(),)

    def conclude(self, context: Context) -> dict[str, Any]:
        """What was concluded. A release that ends here, before it served, skips what comes after."""
        from updraft.loop.alerting import release_alerts
        from updraft.loop.auditing import tell_head
        from updraft.loop.evidence import write_picture
        from updraft.loop.release import conclude
        from updraft.store.transitions import Act

        loop = open_loop(self.project)
        picture = write_picture(loop, self.subject)
        step = conclude(loop, self.subject)
        self.log.info("%s: %s, %s", self.subject, step.act, step.reason)
        if step.act is Act.WAIT:  # another tick came since the question, and with it the evidence says less
            self.wait()
        release_alerts.of_release(loop, self.subject)
        tell_head(loop, registry())
        deliver_alerts(loop)
        if step.act in (Act.REJECT, Act.GONE):
            raise AirflowSkipException(f"{self.subject}: {step.reason}")
        return {"act": str(step.act), "key": step.key, "reason": step.reason, PICTURE: picture}
