"""A version that served before serves again, by a form and a person's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from updraft.errors import InputError
from updraft_airflow.links import VersionLink
from updraft_airflow.operators.release import name_of
from updraft_airflow.operators.step import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.context import Loop
    from updraft.loop.returning import Return


class CompareVersions(StepOperator):
    """Looks at what a form asks for: both versions' recent losses side by side, and what speaks against the return."""

    operator_extra_links = (VersionLink(),)

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """The question with its words, for the task that asks."""
        from updraft.loop.alerting.links import version_url

        planned = _planned(loop, context)
        lines = list(planned.lines())
        for line in lines:
            self.log.info("%s", line)
        words = "\n".join(f"    {line}" for line in lines)  # Markdown: as it stands
        told = {"question": planned.question, "words": words, "version_url": version_url(loop, planned.version)}
        return {**planned.as_dict(), **told}


class ReturnVersion(StepOperator):
    """Decides what was confirmed, in the name of whoever confirmed it."""

    operator_extra_links = (VersionLink(),)

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Version that serves again, and the one that does not.

        :raises InputError: when nobody is known to have confirmed it, as where the task that asks was marked as a success.
        """
        from updraft.loop.alerting.links import version_url
        from updraft.loop.returning import carry_out

        instance, form = context["ti"], context["params"]
        answer = instance.xcom_pull(task_ids="confirm_return") or {}
        by = name_of(answer.get("responded_by_user"))
        if by is None or answer.get("chosen_options") != ["Approve"]:
            raise InputError(
                f"{loop.name}: nobody has confirmed it; clear confirm_return, and let somebody answer who may"
            )
        seen = instance.xcom_pull(task_ids="compare_versions")
        planned = _planned(loop, context)
        if (planned.version, planned.serving) != (seen["version"], seen["serving"]):
            raise InputError(
                f"{loop.name}: version {planned.serving} serves by now, and was asked about version {seen['serving']}; start it again"
            )
        aliases = carry_out(loop, planned, by=by, reason=str(form["reason"]))
        self.log.info("%s", planned.done)
        return {**aliases, "version_url": version_url(loop, planned.version)}


def _planned(loop: Loop, context: Context) -> Return:
    from updraft.loop.returning import plan_reinstatement, plan_rollback

    form = context["params"]
    version = str(form["version"] or "").strip() or None
    if not form["reinstate"]:
        return plan_rollback(loop, version)
    if version is None:
        raise InputError(f"{loop.name}: name the version that is to be reinstated")
    return plan_reinstatement(loop, version)
