"""Scoring and monitoring of one partition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from updraft_airflow.links import LearningLink, ReportLink, VersionLink
from updraft_airflow.operators.step import StepOperator, partition_key

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.context import Loop
    from updraft.loop.flow import Flow


class ScorePartition(StepOperator):
    """Scores the partition with the champion, and in shadow with whatever is being proved."""

    operator_extra_links = (VersionLink(),)

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Version by role; empty before the first champion."""
        from updraft.loop.alerting.links import version_url
        from updraft.loop.score import score_partition

        outcome = score_partition(loop, partition_key(context))
        versions = {row.role: row.version for row in outcome}
        self.log.info(
            "%s", ", ".join(f"{role}: version {version}" for role, version in versions.items()) or "no champion yet"
        )
        champion = versions.get("champion")
        return {"versions": versions, "version_url": version_url(loop, champion) if champion else None}

    def flow(self, loop: Loop, context: Context) -> Flow:
        """From features and versions to predictions."""
        from updraft.loop.flow import of_scoring

        return of_scoring(loop, partition_key(context))


class MeasurePerformance(StepOperator):
    """Measures what served on the labels that matured, and adds the paired losses to every open release."""

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Newest metrics by role, clusters of evidence by release. On-call is told of a business figure beyond its limit."""
        from updraft.loop.alerting import figure_alerts
        from updraft.loop.monitor import measure_performance

        measured = measure_performance(loop, partition_key(context))
        for row in measured.performance:
            self.log.info(
                "%s of %s, version %s on %s rows: %s", row.role, row.key, row.version, f"{row.rows:,}", row.metrics
            )
        for release, count in measured.clusters.items():
            self.log.info("%s: %d clusters of evidence added", release, count)
        for figures in measured.figures:
            self.log.info("Business figures of %s on %s rows: %s", figures.key, f"{figures.rows:,}", figures.figures)
            figure_alerts.figures_broken(loop, figures)
        return {"measured": len(measured.performance), "evidence": measured.clusters}


class RecalibrateModels(StepOperator):
    """Refits the calibration layer of every version that scores, and keeps it where it earns its place."""

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """What became of each version's layer."""
        from updraft.loop.monitor import recalibrate

        outcome = recalibrate(loop, partition_key(context))
        for version, reason in outcome.items():
            self.log.info("version %s: %s", version, reason)
        return {"layers": outcome}


class DecideRemedies(StepOperator):
    """Looks for drift and broken feeds, diagnoses the project, opens an episode when something is to be done."""

    operator_extra_links = (LearningLink(),)

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """The episode, if there is one. On-call is told of it, of a sign that lasts, of a training that is overdue, and of their end."""
        from updraft.loop.alerting import learning_alerts, training_alerts
        from updraft.loop.monitor import decide_remedies

        decided = decide_remedies(
            loop, partition_key(context), lambda run: self._over(context, f"{loop.name}.train", run)
        )
        for episode, why in decided.closed.items():
            self.log.warning("Episode %s is closed: %s", episode, why)
        drift = decided.drift
        self.log.info("Drift: %s", drift.as_dict() if drift else "this tick was decided before, or comes late")
        if decided.episode is not None:
            self.log.info("Episode %s: %s", decided.episode.id, decided.episode.diagnosis)
            training_alerts.episode_opened(loop, decided.episode)
            learning_alerts.lasting_signs_asked(loop, decided.episode)
        learning_alerts.feed_looked_at(loop, partition_key(context))
        training_alerts.trainings_ended(loop, partition_key(context))
        learning_alerts.training_overdue(loop)
        return {"episode": decided.episode.id if decided.episode else None}

    @staticmethod
    def _over(context: Context, dag: str, run: str) -> str | None:
        """Why a run brings nothing any more; None while it may."""
        instance = context["ti"]
        if instance.get_dr_count(dag_id=dag, run_ids=[run], states=["failed"]):
            return f"its training failed; see {dag} {run}"
        if not instance.get_dr_count(dag_id=dag, run_ids=[run]):
            return f"its training {dag} {run} was deleted"
        return None


class WriteReport(StepOperator):
    """Writes an Evidently report of a sample of the partition against the champion's training window."""

    operator_extra_links = (ReportLink(),)

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Where the report is."""
        from updraft.loop.report import write_partition_report

        return {"report": write_partition_report(loop, partition_key(context))}
