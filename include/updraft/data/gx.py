"""Great Expectations on a DuckDB connection that is already open: suites run where the Parquet is read.

Only the engine and the expectations are used: no context, no datasource, no checkpoint. They cost more than
the checks, write files, and look for a network. Great Expectations keeps a connection open only for the dialects
on its own list; DuckDB is not on it, so a query's connection is closed before its rows are read, and they are lost.
:func:`_engine_class` holds one connection open instead.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from updraft.data.duck import in_words

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Outcome:
    """What Great Expectations found for one expectation."""

    success: bool
    observed: Any
    """A JSON value: what was measured, where the expectation measures something."""
    unexpected: int
    error: str | None
    """Why it could not be evaluated; ``success`` is false then."""


@functools.cache
def load() -> Any:
    """Import Great Expectations without its analytics. About two seconds in a cold process."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the package is imported
    import great_expectations

    # Errors come back as outcomes. Its log would repeat them with values of private columns in them.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    return great_expectations


@functools.cache
def _engine_class() -> Any:
    load()
    from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine

    class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):  # type: ignore[misc]
        """Keeps its one connection, so that rows can be read after the query's scope has ended."""

        _connection: Any

        @contextmanager
        def get_connection(self) -> Iterator[Any]:
            if not self._connection:
                self._connection = self.engine.connect()
            yield self._connection

    return DuckDBExecutionEngine


@functools.cache
def _wrapper_class() -> Any:
    from duckdb_engine import ConnectionWrapper

    class Autocommit(ConnectionWrapper):
        """Each query stands by itself: one that fails does not take the others with it."""

        def begin(self) -> None:
            """Nothing to begin."""

        def commit(self) -> None:
            """Nothing to end."""

        def rollback(self) -> None:
            """Nothing to take back: expectations only read."""

    return Autocommit


@contextmanager
def engine(con: duckdb.DuckDBPyConnection) -> Iterator[Engine]:
    """An engine on the views of a connection. Its own cursor is closed at the end: Great Expectations keeps a
    reference to what it once used, and with it would keep the database in memory."""
    made = Engine(con)
    try:
        yield made
    finally:
        made.close()


class Engine:
    """Runs expectations on the views of one DuckDB connection, through a cursor of its own."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        import sqlalchemy
        from sqlalchemy.pool import StaticPool

        own = self._cursor = con.cursor()  # same database, and as much locked in
        made = sqlalchemy.create_engine("duckdb://", creator=lambda: _wrapper_class()(own), poolclass=StaticPool)
        words = own.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
        made.dialect.identifier_preparer.reserved_words |= {word for (word,) in words}  # else PostgreSQL's are quoted
        self._engine = _engine_class()(engine=made)

    def close(self) -> None:
        """Close the cursor."""
        self._cursor.close()

    def run(self, view: str, expectations: Sequence[tuple[str, dict[str, Any]]]) -> list[Outcome]:
        """Run expectations, ``(name without expect_, arguments)``, on a view; outcomes in the same order."""
        from great_expectations.core.batch import Batch
        from great_expectations.execution_engine.sqlalchemy_batch_data import SqlAlchemyBatchData
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
        from great_expectations.validator.validator import Validator

        if not expectations:
            return []
        data = SqlAlchemyBatchData(execution_engine=self._engine, table_name=view, create_temp_table=False)
        validator = Validator(execution_engine=self._engine, batches=[Batch(data=data)])
        validator.metrics_calculator.show_progress_bars = False
        configurations = [
            ExpectationConfiguration(type=f"expect_{name}", kwargs=dict(args), meta={"position": position})
            for position, (name, args) in enumerate(expectations)
        ]
        results = validator.graph_validate(
            configurations=configurations,
            runtime_configuration={
                "result_format": {"result_format": "BASIC", "partial_unexpected_count": 0},
                "catch_exceptions": True,
            },
        )
        found = {result.expectation_config.meta["position"]: _outcome(result) for result in results}
        return [found[position] for position in range(len(expectations))]


def _outcome(result: Any) -> Outcome:
    values = result.result or {}
    return Outcome(
        success=bool(result.success),
        observed=_plain(values.get("observed_value")),
        unexpected=int(values.get("unexpected_count") or 0),
        error=_error(result.exception_info or {}),
    )


def _error(info: dict[str, Any]) -> str | None:
    """Exception information is one exception, or one for each metric that failed.

    Of its text the kind alone: it quotes values, and of other columns too, as metrics share a query.
    """
    each = [info] if "raised_exception" in info else [one for one in info.values() if isinstance(one, dict)]
    messages = [str(one.get("exception_message")) for one in each if one.get("raised_exception")]
    if not messages:
        return None
    duck = re.search(r"\(\w*duckdb\.(?:\w+\.)*(\w+)\)", messages[0])
    return in_words(duck[1]) if duck else "Great Expectations cannot compute it on this column"


def _plain(value: Any) -> Any:
    """A measured value as JSON has it: a number that is not finite, which JSON has no word for, as text."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if not hasattr(value, "__float__"):
        return str(value)
    number = float(value)
    return number if math.isfinite(number) else str(number)
