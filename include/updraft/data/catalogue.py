"""The expectations that a contract may name: what each takes, and which rows break it.

The names and their meaning are those of Great Expectations without ``expect_``
(https://greatexpectations.io/expectations). The masks say the same in SQL, to find the rows; a test holds
the two against each other.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from updraft.data.duck import literal, name, names

Args = Mapping[str, Any]
REASONS = "_reasons"
"""Column of quarantined rows: why each is there, several reasons with a semicolon between them."""
NUMBER = "_number"
"""Column of quarantined rows: the row of the raw file, from 1."""
MISFITS = "_misfits"
"""Column of an extracted file: name of a column → its cell as text, for the cells of a row that do not fit their type."""


@dataclass(frozen=True)
class Kind:
    """One expectation of the catalogue."""

    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()
    breach: Callable[[Args, str], str] | None = None
    """SQL that is true for a row of ``s`` in breach; the second argument is the table that ``s`` stands for."""
    reason: Callable[[Args], str] | None = None


def _between(subject: Callable[[str], str]) -> Callable[[Args, str], str]:
    def breach(args: Args, _relation: str) -> str:
        value = subject(name(args["column"]))
        low, high = args.get("min_value"), args.get("max_value")
        parts = []
        if low is not None:
            parts.append(f"{value} {'<=' if args.get('strict_min') else '<'} {literal(low)}")
        if high is not None:
            parts.append(f"{value} {'>=' if args.get('strict_max') else '>'} {literal(high)}")
        return " OR ".join(parts) or "FALSE"

    return breach


def _set(args: Args) -> str:
    return ", ".join(literal(value) for value in args["value_set"])


def _not_unique(columns: list[str], relation: str) -> str:
    """Grouping is several times cheaper than a window. As in SQL, a null equals nothing."""
    grouped = names(["_slice", *columns])
    same = " AND ".join(f"twice.{name(column)} = s.{name(column)}" for column in ("_slice", *columns))
    several = f"SELECT {grouped} FROM {relation} GROUP BY ALL HAVING count(*) > 1"
    return f"EXISTS (SELECT 1 FROM ({several}) AS twice WHERE {same})"


def _compound(args: Args, relation: str) -> str:
    return _not_unique(list(args["column_list"]), relation)


def _unique(args: Args, relation: str) -> str:
    return _not_unique([args["column"]], relation)


def _greater(args: Args, _relation: str) -> str:
    sign = "<" if args.get("or_equal") else "<="
    return f"{name(args['column_A'])} {sign} {name(args['column_B'])}"


def _bounds(args: Args) -> str:
    low, high = args.get("min_value"), args.get("max_value")
    if low is None:
        return f"{'not below' if args.get('strict_max') else 'above'} {high}"
    if high is None:
        return f"{'not above' if args.get('strict_min') else 'below'} {low}"
    without = [str(end) for end, strict in ((low, "strict_min"), (high, "strict_max")) if args.get(strict)]
    return f"not in {low} to {high}" + (f" without {' and '.join(without)}" if without else "")


ROWS: dict[str, Kind] = {
    "column_values_to_not_be_null": Kind(
        ("column",), (), lambda a, _: f"{name(a['column'])} IS NULL", lambda a: f"{a['column']} is null"
    ),
    "column_values_to_be_null": Kind(
        ("column",), (), lambda a, _: f"{name(a['column'])} IS NOT NULL", lambda a: f"{a['column']} is not null"
    ),
    "column_values_to_be_between": Kind(
        ("column",),
        ("min_value", "max_value", "strict_min", "strict_max"),
        _between(lambda column: column),
        lambda a: f"{a['column']} {_bounds(a)}",
    ),
    "column_values_to_be_in_set": Kind(
        ("column", "value_set"),
        (),
        lambda a, _: f"{name(a['column'])} NOT IN ({_set(a)})",
        lambda a: f"{a['column']} not in {{{', '.join(map(str, a['value_set']))}}}",
    ),
    "column_values_to_not_be_in_set": Kind(
        ("column", "value_set"),
        (),
        lambda a, _: f"{name(a['column'])} IN ({_set(a)})",
        lambda a: f"{a['column']} in {{{', '.join(map(str, a['value_set']))}}}",
    ),
    "column_values_to_be_unique": Kind(("column",), (), _unique, lambda a: f"{a['column']} is not unique"),
    "compound_columns_to_be_unique": Kind(
        ("column_list",), (), _compound, lambda a: f"({', '.join(a['column_list'])}) is not unique"
    ),
    "column_values_to_match_regex": Kind(
        ("column", "regex"),
        (),
        lambda a, _: f"NOT regexp_matches({name(a['column'])}, {literal(a['regex'])})",
        lambda a: f"{a['column']} does not match {a['regex']}",
    ),
    "column_values_to_not_match_regex": Kind(
        ("column", "regex"),
        (),
        lambda a, _: f"regexp_matches({name(a['column'])}, {literal(a['regex'])})",
        lambda a: f"{a['column']} matches {a['regex']}",
    ),
    "column_value_lengths_to_be_between": Kind(
        ("column",),
        ("min_value", "max_value", "strict_min", "strict_max"),
        _between(lambda column: f"length({column})"),
        lambda a: f"length of {a['column']} {_bounds(a)}",
    ),
    "column_value_lengths_to_equal": Kind(
        ("column", "value"),
        (),
        lambda a, _: f"length({name(a['column'])}) <> {literal(a['value'])}",
        lambda a: f"length of {a['column']} is not {a['value']}",
    ),
    "column_pair_values_a_to_be_greater_than_b": Kind(
        ("column_A", "column_B"),
        ("or_equal",),
        _greater,
        lambda a: f"{a['column_A']} {'below' if a.get('or_equal') else 'not above'} {a['column_B']}",
    ),
    "column_pair_values_to_be_equal": Kind(
        ("column_A", "column_B"),
        (),
        lambda a, _: f"{name(a['column_A'])} IS DISTINCT FROM {name(a['column_B'])}",
        lambda a: f"{a['column_A']} differs from {a['column_B']}",
    ),
}
"""Expectations that a row can break. Nulls break only the expectations about nulls and about equal pairs, as there."""

OF_TYPE = "column_to_be_of_type"
IMPLIED: dict[str, Kind] = {
    OF_TYPE: Kind(
        ("column", "type"),
        (),
        lambda a, _: f"list_contains(map_keys({MISFITS}), {literal(a['column'])})",
        lambda a: f"{a['column']} is no {a['type']}",
    ),
}
"""What every source promises: cells that are of their column's type. The rows that break it are told when they are extracted."""


def row_kind(expectation: str) -> Kind:
    """An expectation that a row can break, of the contract or implied."""
    return ROWS.get(expectation) or IMPLIED[expectation]


_RANGE = ("min_value", "max_value", "strict_min", "strict_max")

TABLE: dict[str, Kind] = {
    **{kind: Kind(rule.needs, (*rule.takes, "mostly")) for kind, rule in ROWS.items()},
    "table_row_count_to_be_between": Kind((), ("min_value", "max_value", "strict_min", "strict_max")),
    "table_row_count_to_equal": Kind(("value",)),
    "table_column_count_to_be_between": Kind((), ("min_value", "max_value")),
    "table_columns_to_match_set": Kind(("column_set",), ("exact_match",)),
    "column_to_exist": Kind(("column",)),
    "column_min_to_be_between": Kind(("column",), _RANGE),
    "column_max_to_be_between": Kind(("column",), _RANGE),
    "column_mean_to_be_between": Kind(("column",), _RANGE),
    "column_median_to_be_between": Kind(("column",), _RANGE),
    "column_sum_to_be_between": Kind(("column",), _RANGE),
    "column_stdev_to_be_between": Kind(("column",), _RANGE),
    "column_quantile_values_to_be_between": Kind(("column", "quantile_ranges"), ("allow_relative_error",)),
    "column_unique_value_count_to_be_between": Kind(("column",), _RANGE),
    "column_proportion_of_unique_values_to_be_between": Kind(("column",), _RANGE),
    "column_proportion_of_non_null_values_to_be_between": Kind(("column",), _RANGE),
    "column_distinct_values_to_be_in_set": Kind(("column", "value_set")),
    "column_distinct_values_to_contain_set": Kind(("column", "value_set")),
    "column_distinct_values_to_equal_set": Kind(("column", "value_set")),
}
"""Expectations on a source as a whole; ``mostly`` is the share of rows that must meet a row expectation."""

TYPES: dict[str, tuple[str, ...]] = {
    "integer": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    "number": (
        "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
        "FLOAT", "DOUBLE", "DECIMAL",
    ),
    "text": ("VARCHAR",),
    "time": (
        "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S",
        "TIMESTAMPTZ_NS",
    ),
    "boolean": ("BOOLEAN",),
}  # fmt: skip
"""Types that a contract may ask of a column, and the DuckDB types that they are."""


def columns_of(args: Args) -> tuple[str, ...]:
    """The columns that an expectation reads."""
    single = [str(args[key]) for key in ("column", "column_A", "column_B") if key in args]
    return (*single, *(str(column) for column in args.get("column_list", ())))
