"""Daily upkeep of all projects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from updraft.errors import IntegrityError
from updraft_airflow.deployment import open_loop, settings
from updraft_airflow.hooks.slack import deliver_alerts, keep_up_alerts
from updraft_airflow.notifiers.failure import in_words
from updraft_airflow.operators.step import fails_at_once, log_fields

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.context import Loop


class ForEachProject(BaseOperator):
    """Runs one step for every sound project; one project's error does not stop the others, and fails the task at the end."""

    def step(self, loop: Loop) -> Any:
        """The step; what it returns goes to the log and XCom."""
        raise NotImplementedError(type(self).__name__)

    def execute(self, context: Context) -> dict[str, Any]:
        """Step by project."""
        from updraft.spec.load import load_projects
        from updraft.spec.model import Project

        results: dict[str, Any] = {}
        failed: list[str] = []
        for name, project in load_projects(settings().projects, settings().environment).items():
            if not isinstance(project, Project):
                self.log.warning("%s is broken; see its DAG %s.broken", name, name)
                continue
            with log_fields(name):
                try:
                    results[name] = self.step(open_loop(name))
                    self.log.info("%s: %s", name, results[name])
                except Exception as error:
                    self.log.exception("%s", name)
                    failed.append(f"{name}: {in_words(error)}")
        if failed:
            raise AirflowFailException("; ".join(failed))
        return results


class ReconcileAliases(ForEachProject):
    """Brings MLflow's aliases in line with the store's decisions."""

    def step(self, loop: Loop) -> dict[str, str | None]:
        """Aliases as the store has them."""
        from updraft.loop.release import point_aliases

        return point_aliases(loop) if loop.store.serving(loop.name).champion else {}


class VerifyDecisions(ForEachProject):
    """Recomputes the hash chain of every project's decisions, and holds it against its anchors."""

    def step(self, loop: Loop) -> str:
        """What was found.

        :raises IntegrityError: when the chain is broken, after on-call was told.
        """
        from updraft.loop.alerting.telling import tampered
        from updraft.loop.auditing import audit_decisions, complete_anchors, keep_audit
        from updraft_airflow.deployment import registry

        audit = audit_decisions(loop.store, loop.settings, loop.name, registry())
        looked_at = datetime.now(UTC)
        if audit.problems:
            problems = "; ".join(audit.problems)
            tampered(loop, "the chain of decisions", f"{loop.name}'s decisions in the store", problems)
            deliver_alerts(loop)
        keep_audit(loop.store, audit, looked_at)  # on-call has heard by now, whatever comes of writing it down
        if audit.problems:
            raise IntegrityError(f"{audit.words}; `updraft audit verify {loop.name}` lists everything")
        complete_anchors(loop.settings, audit)
        if audit.head is not None:
            registry().note_head(loop.name, audit.head.line())
        return audit.words


class SendAlerts(ForEachProject):
    """Sends the alerts that Slack did not take when they were new, and the digest of the week that ended."""

    def step(self, loop: Loop) -> str:
        """What was delivered."""
        return str(keep_up_alerts(loop.settings, loop.store.engine, loop.spec))


class WatchLearning(ForEachProject):
    """Tells when the last training is too old. `monitor` does so too; this is for when nothing reaches it, such as a feed that is refused."""

    def step(self, loop: Loop) -> str:
        """What is told, in one line."""
        from updraft.loop.alerting.learning_alerts import training_overdue
        from updraft.loop.watchdog import overdue_training

        training_overdue(loop)
        deliver_alerts(loop)
        overdue = overdue_training(loop.store, loop.spec)
        return overdue.words if overdue else "no training is overdue"


class RemoveLeftovers(ForEachProject):
    """Removes raw copies beyond their retention, and files that a killed task left behind."""

    def step(self, loop: Loop) -> dict[str, int]:
        """Files removed, by kind."""
        from updraft.loop.leftovers import remove_leftovers

        return remove_leftovers(loop)


class DestroyOldKeys(ForEachProject):
    """Destroys pseudonym keys that were rotated, once both keys have been kept for as long as the project says."""

    def step(self, loop: Loop) -> list[str]:
        """What was destroyed, in words."""
        from updraft.loop.rotating import destroy_old_keys

        told = destroy_old_keys(loop)
        for words in told:
            self.log.warning("%s: %s", loop.name, words)
        return told


class RemovePods(BaseOperator):
    """Removes pods of trainings that are not under way any more, such as of runs that were deleted while Airflow was down."""

    def execute(self, context: Context) -> dict[str, str]:
        """Pods removed, each with its reason; none, without asking any cluster, where no project trains in pods."""
        from updraft.spec.load import load_projects
        from updraft.spec.model import Project

        projects = [
            project
            for project in load_projects(settings().projects, settings().environment).values()
            if isinstance(project, Project)
        ]
        if not any(project.spec.training.compute.backend == "kubernetes" for project in projects):
            return {}
        with fails_at_once():
            return self._remove()

    def _remove(self) -> dict[str, str]:
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

        from updraft.pods.orphans import orphans
        from updraft.spec.deployment import load_deployment
        from updraft_airflow.hooks.cluster import Cluster, cluster_errors
        from updraft_airflow.pods import owned

        kubernetes = load_deployment(settings().deployment).kubernetes
        with cluster_errors(kubernetes.connection, kubernetes.namespace):
            cluster = Cluster(KubernetesHook(conn_id=kubernetes.connection).core_v1_client, kubernetes.namespace)
            labels = ",".join(f"{name}={value}" for name, value in owned(settings()).items())
            pods = orphans(cluster.pods(labels), _state_of_training, datetime.now(UTC))
            for pod, why in pods:
                self.log.info("Removing pod %s: %s", pod, why)
                cluster.remove(pod)
            jobs = orphans(cluster.jobs(labels), _state_of_training, datetime.now(UTC))
            for job, why in jobs:
                self.log.info("Removing Job %s: %s", job, why)
                cluster.remove_job(job)
        return dict([*pods, *jobs])


def _state_of_training(project: str, run: str) -> str | None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from updraft.lake.places import trial_of

    dag, task, name = f"{project}.train", "train_model", "train_model"
    if (trial := trial_of(run)) is not None:
        run, dag, task, name = trial[0], f"{project}.search", "search_trial", f"search_trial_{trial[1]}"
    asked = {"dag_id": dag, "task_ids": [task], "run_ids": [run]}
    state = RuntimeTaskInstance.get_task_states(**asked).get(run, {}).get(name)
    return None if state is None else str(state)
