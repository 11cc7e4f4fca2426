"""Ingestion of one partition: extract, validate, publish."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from updraft_airflow.hooks.slack import deliver_alerts
from updraft_airflow.links import DataDocsLink
from updraft_airflow.notifiers.failure import AlreadyTold
from updraft_airflow.operators.step import StepOperator, dag_url, partition_key
from updraft_airflow.triggers.file import FileTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.errors import SourceAway, SourceMissing
    from updraft.loop.context import Loop
    from updraft.loop.flow import Flow


class ExtractPartition(StepOperator):
    """Copies the partition's rows of every source into the raw zone. For a file that is not there yet it waits, without a worker."""

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Rows by source."""
        return self._extract(loop, context, waited=False)

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any] | None:
        """The wait is over: the files are there, or time for this partition has run out."""
        self.log.info("Woken: %s", event["why"])
        return self.taken(context, partial(self._extract, waited=True))

    def _extract(self, loop: Loop, context: Context, *, waited: bool) -> dict[str, Any]:
        from updraft.errors import SourceAway, SourceMissing
        from updraft.loop.ingest import extract
        from updraft.loop.late_files import content_so_far
        from updraft.replay.run import RUN

        key, of_now = partition_key(context), not context["dag_run"].run_id.startswith(RUN)
        content = content_so_far(loop, key) if of_now else None
        try:
            extracted = extract(loop, key, of_now=of_now)
        except (SourceMissing, SourceAway) as error:
            if of_now:
                self._await(loop, context, error, content, waited=waited)
            raise
        rows = {name: source.rows for name, source in extracted.sources.items()}
        self.log.info("Extracted %s", ", ".join(f"{count:,} rows of {name}" for name, count in rows.items()))
        return {"rows": rows}

    def _await(
        self, loop: Loop, context: Context, error: SourceMissing | SourceAway, content: str | None, *, waited: bool
    ) -> None:
        """Wait for the file; come back where it is not waited for, as in a backfill.

        :param content: what was read, of a file of all time.
        :raises AirflowSkipException: when a person has passed over the partition.
        :raises AlreadyTold: when the wait is over.
        """
        from updraft.errors import SourceBehind
        from updraft.loop.late_files import await_file, is_passed_over

        key = partition_key(context)
        if waited and is_passed_over(loop, key):
            raise AirflowSkipException(f"a person has passed over partition {key}")
        until = await_file(loop, key, error, datetime.now(UTC), run=dag_url(context), waited=waited)
        if until is not None:
            self.log.info("%s: waiting until %s", error, until)
            deliver_alerts(loop)
            seen = content if isinstance(error, SourceBehind) else None
            trigger = FileTrigger(self.project, key, until.isoformat(), seen)
            raise TaskDeferred(trigger=trigger, method_name="resume", timeout=None)
        if waited:
            deliver_alerts(loop)
            raise AlreadyTold(
                f"{error}; it was waited for until the next tick. When it is there, clear this run"
            ) from error


class ValidatePartition(StepOperator):
    """Checks every source against the data contract; rows in breach are quarantined, too many refuse the partition."""

    operator_extra_links = (DataDocsLink(),)

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Quarantined rows by source."""
        from updraft.loop.ingest import validate

        key = partition_key(context)
        context["ti"].xcom_push(
            key="return_value", value={"key": key}
        )  # the data docs of a refused partition are wanted most
        validated = validate(loop, key, run=str(context["dag_run"].run_id))
        self.log.info("%s", validated.words)
        return {"key": validated.key, "quarantined": validated.quarantined}


class PublishPartition(StepOperator):
    """Joins, pseudonymises, computes features and the profile, and publishes the partition in one move."""

    operator_extra_links = (DataDocsLink(),)

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Rows and where they are. An empty partition is skipped, so that nothing downstream starts for it."""
        from updraft.loop.ingest import publish

        row = publish(loop, partition_key(context))
        if row.state != "published":
            raise AirflowSkipException(f"partition {row.key} is {row.state}: nothing to score")
        self.log.info("Published %s rows of %s at %s", f"{row.rows:,}", row.key, row.url)
        return {"key": row.key, "rows": row.rows, "quarantined": row.quarantined, "url": row.url}

    def flow(self, loop: Loop, context: Context) -> Flow:
        """From the sources to rows and features."""
        from updraft.loop.flow import of_ingestion

        return of_ingestion(loop, partition_key(context))
