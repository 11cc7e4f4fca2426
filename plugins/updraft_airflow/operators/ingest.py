"""Ingestion of one partition: extract, validate, publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from updraft_airflow.links import DataDocsLink
from updraft_airflow.operators.step import StepOperator, partition_key

if TYPE_CHECKING:
    from airflow.sdk import Context

    from updraft.loop.context import Loop


class ExtractPartition(StepOperator):
    """Copies the partition's rows of every source into the raw zone."""

    def step(self, loop: Loop, context: Context) -> dict[str, Any]:
        """Rows by source."""
        from updraft.loop.ingest import extract

        found = extract(loop, partition_key(context))
        rows = {name: source.rows for name, source in found.sources.items()}
        self.log.info("Extracted %s", ", ".join(f"{count:,} rows of {name}" for name, count in rows.items()))
        return {"rows": rows}


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
        found = validate(loop, key, run=str(context["dag_run"].run_id))
        self.log.info("%s", found.words)
        return {"key": found.key, "quarantined": found.quarantined}


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
