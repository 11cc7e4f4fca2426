"""Great Expectations judges what one DuckDB statement has measured.

An expectation of Great Expectations is two things: metrics that it needs of a table, and a judgement on them. The judgement
is taken as it is. The metrics are taken from one statement on the connection that is open already, for all expectations at
once: Great Expectations' own way to them (a graph of metrics, each described, hashed and copied many times, on SQLAlchemy)
costs more than a quarter of a second of Python for fifteen expectations, however few rows there are. A test holds its own
metrics on DuckDB against these, for every expectation of the catalogue.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import functools
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from updraft.data.catalogue import ROWS
from updraft.data.duck import first, in_words, literal, name, names
from updraft.errors import SettingsError

if TYPE_CHECKING:
    import duckdb

_MAJOR = "1."
"""Version whose ``Expectation._validate`` is used below: there is no public way to have given metrics judged."""
_FORMAT = {"result_format": {"result_format": "BASIC", "partial_unexpected_count": 0}}
_RANGES = {
    "column_min_to_be_between": ("column.min", "min({0})"),
    "column_max_to_be_between": ("column.max", "max({0})"),
    "column_mean_to_be_between": ("column.mean", "avg(1.0 * {0})"),
    "column_median_to_be_between": ("column.median", "median({0})"),
    "column_sum_to_be_between": ("column.sum", "sum({0})"),
    "column_stdev_to_be_between": ("column.standard_deviation", "stddev_samp({0})"),
    "column_unique_value_count_to_be_between": ("column.distinct_values.count", "count(DISTINCT {0})"),
    "column_proportion_of_unique_values_to_be_between": (
        "column.unique_proportion",
        "COALESCE(count(DISTINCT {0}) / nullif(count({0}), 0), 0)",
    ),
    "column_proportion_of_non_null_values_to_be_between": (
        "column.non_null_proportion",
        "COALESCE(count({0}) / nullif(count(*), 0), 0)",
    ),
}
"""Expectations on one measure of a column: Great Expectations' name of it, and how DuckDB computes it."""


@dataclass(frozen=True)
class Question:
    """One expectation to be judged."""

    name: str
    """Of the expectation, without ``expect_``."""
    args: Mapping[str, Any]
    breach: str | None = None
    """SQL that is true for a row ``s`` in breach, where it is not the catalogue's own."""


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
    """Import Great Expectations without its analytics. About two seconds in a cold process.

    :raises SettingsError: when it is of a version whose judgement is not known here.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the package is imported
    import great_expectations

    if not great_expectations.__version__.startswith(_MAJOR):
        raise SettingsError(
            f"great_expectations {great_expectations.__version__} is installed; this Updraft judges with version {_MAJOR}x: "
            "install what requirements.txt names"
        )
    # Errors come back as outcomes. Its log would repeat them with values of private columns in them.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    return great_expectations


def judge(
    con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], questions: Sequence[Question]
) -> list[Outcome]:
    """Have expectations on a relation judged; outcomes in the same order.

    Everything is measured in one statement. Where that fails, each expectation is measured by itself, so that one that cannot be
    computed on its column does not take the others with it.

    :param relation: name of a view or table.
    :param columns: its columns that belong to the data.
    """
    import duckdb

    load()
    wanted = [_metrics(question, name(relation), columns) for question in questions]
    try:
        measured = _measure(con, relation, wanted)
    except duckdb.Error:
        pass
    else:
        return [_judged(question, metrics) for question, metrics in zip(questions, measured, strict=True)]
    outcomes = []
    for question, metrics in zip(questions, wanted, strict=True):
        try:
            [alone] = _measure(con, relation, [metrics])
        except duckdb.Error as error:
            nothing = _metrics_of_nothing(con, relation, question, metrics)
            failed = Outcome(False, None, 0, in_words(type(error).__name__))
            outcomes.append(_judged(question, nothing) if nothing is not None else failed)
        else:
            outcomes.append(_judged(question, alone))
    return outcomes


def _metrics_of_nothing(
    con: duckdb.DuckDBPyConnection, relation: str, question: Question, metrics: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The metrics where a column has no value at all; None where it has one.

    Such a column may be of any type, as its file says nothing about it, and does not compare with the expectation's values then.
    """
    called, args = question.name, question.args
    columns = _columns(args)
    if not columns or not (called in ROWS or "value_set" in args):
        return None
    if any(first(con, f"SELECT {', '.join(f'count({name(column)})' for column in columns)} FROM {name(relation)}")):
        return None
    if called in ROWS:
        return _measure(con, relation, [{**metrics, **_of_rows(replace(question, breach="FALSE"), name(relation))}])[0]
    none: dict[str, Any] = {
        "column.distinct_values.not_in_set.count": 0,
        "column.distinct_values.missing_from_column.count": len(set(args["value_set"])),
    }
    return _measure(con, relation, [{**metrics, **none}])[0]


@dataclass(frozen=True)
class _Sql:
    """An aggregate that DuckDB is to compute."""

    text: str


def _measure(
    con: duckdb.DuckDBPyConnection, relation: str, wanted: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The metrics with DuckDB's answers in the place of SQL; each text is computed once."""
    texts = list(
        dict.fromkeys(value.text for metrics in wanted for value in metrics.values() if isinstance(value, _Sql))
    )
    answers: dict[str, Any] = {}
    if texts:
        answers = dict(zip(texts, first(con, f"SELECT {', '.join(texts)} FROM {name(relation)} AS s"), strict=True))
    return [
        {key: answers[value.text] if isinstance(value, _Sql) else value for key, value in metrics.items()}
        for metrics in wanted
    ]


def _metrics(question: Question, relation: str, columns: Sequence[str]) -> dict[str, Any]:
    """What Great Expectations needs to judge an expectation, by its own names."""
    called, args = question.name, question.args
    metrics: dict[str, Any] = {
        "table.row_count": _Sql("count(*)"),
        "table.columns": list(columns),
        "table.column_count": len(columns),
    }
    if called in ROWS:
        return metrics | _of_rows(question, relation)
    if called in _RANGES:
        metric, text = _RANGES[called]
        return metrics | {metric: _Sql(text.format(name(args["column"])))}
    if called == "column_quantile_values_to_be_between":
        quantiles = args["quantile_ranges"]["quantiles"]
        listed = ", ".join(literal(quantile) for quantile in quantiles)
        none = ", ".join("NULL" for _ in quantiles)  # of a column without values
        text = f"COALESCE(quantile_disc({name(args['column'])}, [{listed}]), [{none}])"
        return metrics | {"column.quantile_values": _Sql(text)}
    if "value_set" in args:
        column, values = name(args["column"]), ", ".join(literal(value) for value in args["value_set"])
        hits = f"count(DISTINCT {column}) FILTER (WHERE {column} IN ({values}))"
        others = f"count(DISTINCT {column}) FILTER (WHERE {column} NOT IN ({values}))"
        count = len(set(args["value_set"]))
        return metrics | {
            "column.distinct_values.not_in_set.count": _Sql(others),
            "column.distinct_values.missing_from_column.count": _Sql(f"{count} - {hits}"),
        }
    return metrics


def _of_rows(question: Question, relation: str) -> dict[str, Any]:
    """Rows in breach of an expectation that a row can break, and the rows that count for it."""
    called, args = question.name, question.args
    metric = _expectation_class(called).map_metric
    if called in ("column_values_to_be_unique", "compound_columns_to_be_unique"):
        unexpected = _repeated(_columns(args), relation)
    else:
        breach = question.breach or ROWS[called].breach
        text = breach if isinstance(breach, str) else breach(args, relation) if breach is not None else "FALSE"
        unexpected = f"count(*) FILTER (WHERE {text})"
    some = " OR ".join(f"{name(column)} IS NOT NULL" for column in _columns(args))
    metrics = {
        f"{metric}.unexpected_count": _Sql(unexpected),
        f"{metric}.filtered_row_count": _Sql(f"count(*) FILTER (WHERE {some})"),
    }
    if metric != "column_values.nonnull":
        nulls = " AND ".join(f"{name(column)} IS NULL" for column in _columns(args))
        metrics["column_values.nonnull.unexpected_count"] = _Sql(f"count(*) FILTER (WHERE {nulls})")
    return metrics


def _columns(args: Mapping[str, Any]) -> list[str]:
    pair = [str(args[key]) for key in ("column", "column_A", "column_B") if key in args]
    return [*pair, *(str(column) for column in args.get("column_list", ()))]


def _repeated(columns: list[str], relation: str) -> str:
    """SQL: the rows whose values occur several times. Grouping is several times cheaper than a window over the table."""
    there = " AND ".join(f"{name(column)} IS NOT NULL" for column in columns)
    return (
        f"(SELECT COALESCE(sum(n), 0)::BIGINT FROM (SELECT count(*) AS n FROM {relation} WHERE {there} "
        f"GROUP BY {names(columns)} HAVING count(*) > 1))"
    )


@functools.cache
def _expectation_class(called: str) -> Any:
    load()
    from great_expectations.expectations.registry import get_expectation_impl

    return get_expectation_impl(f"expect_{called}")


def _judged(question: Question, metrics: Mapping[str, Any]) -> Outcome:
    judgement = _validated(question, metrics)
    if judgement is None:  # a bound that is a day compares with days alone
        days = {key: value.date() if isinstance(value, datetime) else value for key, value in metrics.items()}
        judgement = _validated(question, days) if days != metrics else None
    if judgement is None:
        return Outcome(False, None, 0, "Great Expectations cannot compute it on this column")
    result = judgement.get("result") or {}
    return Outcome(
        success=bool(judgement["success"]),
        observed=_plain(result.get("observed_value")),
        unexpected=int(result.get("unexpected_count") or 0),
        error=None,
    )


def _validated(question: Question, metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Great Expectations' judgement; None where it has none."""
    try:
        expectation = _expectation_class(question.name)(**question.args)
        judgement: dict[str, Any] = expectation._validate(metrics=metrics, runtime_configuration=_FORMAT)
    except Exception:  # noqa: BLE001  -- it compares a text with a number, say; its message quotes values
        return None
    return judgement


def _plain(value: Any) -> Any:
    """A measured value as JSON has it: a number that is not finite, which JSON has no word for, as text."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if not hasattr(value, "__float__"):
        return str(value)
    number = float(value)
    return number if math.isfinite(number) else str(number)
