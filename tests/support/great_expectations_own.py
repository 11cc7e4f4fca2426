"""Great Expectations' own way to its metrics, on a DuckDB connection: what Updraft's is held against.

Great Expectations keeps a connection open only for the dialects on its own list; DuckDB is not on it, so a query's connection is
closed before its rows are read, and they are lost. :func:`_engine_class` holds one connection open instead.
"""

from __future__ import annotations

import atexit
import functools
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from updraft.data.gx import load

if TYPE_CHECKING:
    import duckdb


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

    atexit.register(_let_go_of_duckdb)

    class Autocommit(ConnectionWrapper):
        """Each query stands by itself: one that fails does not take the others with it."""

        def begin(self) -> None:
            """Nothing to begin."""

        def commit(self) -> None:
            """Nothing to end."""

        def rollback(self) -> None:
            """Nothing to take back: expectations only read."""

    return Autocommit


def _let_go_of_duckdb() -> None:
    """Empty the modules of SQLAlchemy's DuckDB dialect at the end of the process.

    Imported beside Great Expectations' SQL engine they outlive Python, and with them the classes of DuckDB that they name: its binding
    (nanobind) then prints a page of all that leaked.
    """
    from sqlalchemy.dialects import registry

    registry.impls.pop("duckdb", None)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "duckdb_engine":
            vars(module).clear()
    gc.collect()


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

    def run(self, view: str, expectations: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
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
        by_position = {result.expectation_config.meta["position"]: result for result in results}
        return [by_position[position] for position in range(len(expectations))]
