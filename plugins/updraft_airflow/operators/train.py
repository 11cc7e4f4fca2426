"""Training: freeze the data, train, judge, register."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from updraft_airflow.links import CardLink, RunLink, VersionLink
from updraft_airflow.operators.step import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.jobs.contract import TrainingResult
    from updraft.loop.context import Loop
    from updraft.loop.flow import Flow


def run_id(context: Context) -> str:
    """The id under which the store and the lake know this training; each trial of a search has its own."""
    from updraft.lake.places import trial_run

    run, number = str(context["dag_run"].run_id), context["ti"].map_index
    return run if number is None or number < 0 else trial_run(run, number)


class NoteStart(StepOperator):
    """Notes that an episode's remedy was started, so that `watch` does not offer it again."""

    template_fields = ("episode",)

    def __init__(self, *, episode: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.episode = episode

    def step(self, loop: Loop, context: Context) -> None:
        """Note it in the store."""
        loop.store.start_episode(loop.name, self.episode)


class SnapshotData(StepOperator):
    """Plans the training and versions its data; the request that comes out fixes everything that follows."""

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Where the request is."""
        from updraft.loop.train import prepare

        form = context["params"]
        request = prepare(
            loop,
            run_id(context),
            form.get("partition"),
            episode=form.get("episode"),
            trainer=form.get("trainer"),
            params=form.get("parameters") or {},
            reason=str(form.get("reason") or ""),
            search=form.get("search"),
        )
        self.log.info("Request: %s", request)
        return {"request": request}

    def flow(self, loop: Loop, context: Context) -> Flow:
        """From features and labels to the snapshot."""
        from updraft.loop.flow import of_snapshot

        return of_snapshot(loop, run_id(context))


class TrainModel(StepOperator):
    """Runs the request, as ``updraft train run REQUEST.json`` does; a killed run goes on from its checkpoint."""

    operator_extra_links = (RunLink(),)

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """References and the figures that people look at first."""
        from updraft.loop.train import train_here

        return references(self.log, train_here(loop, run_id(context)))

    def flow(self, loop: Loop, context: Context) -> Flow:
        """From the snapshot to the model."""
        from updraft.loop.flow import of_training

        return of_training(loop, run_id(context))


def references(log: Any, result: TrainingResult) -> dict[str, Any]:
    """What `train_model` hands over, wherever it ran: references, and the figures that people look at first."""
    from updraft_airflow.deployment import registry

    log.info("%d rounds on %s rows in %.1f s: %s", result.rounds, f"{result.rows:,}", result.seconds, result.metrics)
    return {
        "mlflow_url": registry().run_url(result.mlflow_run_id) if result.mlflow_run_id else None,
        "rounds": result.rounds,
        "metrics": result.metrics,
    }


class EvaluateModel(StepOperator):
    """Holds the proof against what served on the holdout partitions, and against the gates."""

    operator_extra_links = (CardLink(),)

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Whether the gates are passed, and why."""
        from updraft.loop.card import write_card
        from updraft.loop.train import evaluate
        from updraft_airflow.deployment import registry

        comparison = evaluate(loop, run_id(context))
        card = write_card(loop, run_id(context), comparison, registry())
        for reason in comparison.gates.reasons:
            self.log.info("%s", reason)
        return {"passed": comparison.gates.passed, "card": card}


class RegisterModel(StepOperator):
    """Signs and registers the model; the gates decide whether it becomes the challenger or stays with its reason."""

    operator_extra_links = (VersionLink(), RunLink())

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Version and release. A refused model ends the run here: what comes after is skipped."""
        from updraft.loop.alerting import training_alerts
        from updraft.loop.alerting.links import version_url
        from updraft.loop.registration import register
        from updraft_airflow.deployment import registry

        run = run_id(context)
        version, release = register(loop, run, registry())
        gates = loop.training(run).evaluation
        training_alerts.trained(loop, run, version, gates)
        mlflow_run = loop.training(run).result.mlflow_run_id
        handed = {
            "version": version,
            "version_url": version_url(loop, version),
            "mlflow_url": registry().run_url(mlflow_run) if mlflow_run else None,
            "release": release,
        }
        if release is None:
            context["ti"].xcom_push(key="return_value", value=handed)  # for the links: a skipped task returns nothing
            raise AirflowSkipException(f"version {version} was refused: {'; '.join(gates['reasons'])}")
        return handed

    def flow(self, loop: Loop, context: Context) -> Flow | None:
        """From the model to its version."""
        from updraft.loop.flow import of_registration

        training = loop.store.training(loop.name, run_id(context))
        if training is None or training.version is None:
            return None
        return of_registration(loop, training.id, training.version)
