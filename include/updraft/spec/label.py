"""The expression of a label: parsed by DuckDB, never run here, and held against what a label may be.

A label is one expression over the columns of its own row. Labels are published as they are, so a private column may
stand only where nothing but true, false or null comes of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from updraft.spec.data import Data, Label

if TYPE_CHECKING:
    import duckdb

_LONGEST = 10_000
"""Characters of an expression."""
_DEEPEST = 100
"""Brackets in brackets: DuckDB's parser takes minutes for thousands of them."""
_REFUSED_CLASSES = {
    "SUBQUERY": "has a query in it",
    "STAR": "has a star (*, COLUMNS), which stands for columns that it does not name",
    "PARAMETER": "has a parameter ($1, ?), to which nothing is given",
    "POSITIONAL_REFERENCE": "names a column by its position (#1)",
}
_REFUSED_FUNCTIONS = frozenset((
    "currval", "current_connection_id", "current_query", "current_query_id", "current_setting", "error", "getvariable",
    "nextval", "pg_sleep", "setseed", "setval", "sleep_ms", "write_log",
))  # fmt: skip
"""Functions that read or change the session, or wait: nothing of a row."""
_MAKE_ROWS = frozenset(("generate_subscripts", "regexp_split_to_table", "unlist", "unnest"))
"""Functions that make several rows of one, each of which a comparison may tell."""
_MATCHES = frozenset(("~~", "!~~", "~~*", "!~~*", "~~~"))
"""LIKE, NOT LIKE, ILIKE, NOT ILIKE and GLOB, as DuckDB's parser calls them."""
_COMPARING_OPERATORS = frozenset(("COMPARE_IN", "COMPARE_NOT_IN", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"))
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_CLOCKS = frozenset(("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"))
"""What DuckDB reads as a function without brackets, where no column has the name."""


@dataclass(frozen=True)
class Purpose:
    """What an expression is to be, in the words of its errors."""

    columns: str
    """What it is made of, as a sentence."""
    several: str
    """Why it makes no rows, as a sentence."""
    tables: frozenset[str] = frozenset()
    """What may stand before the name of a column, in lower case."""


_LABEL = Purpose("a label is made of the columns of its own row, by name", "a row has one label")


@dataclass(frozen=True)
class Expression:
    """What an expression is made of. Names in lower case, as DuckDB tells them apart."""

    wrong: str | None
    """Why it is no expression over the columns of one row, as the end of a sentence; the rest is empty then."""
    names: frozenset[str] = frozenset()
    """The columns that it reads, or what else its names stand for."""
    bare: frozenset[str] = frozenset()
    """Names that stand outside of every comparison somewhere, so that their values may come through."""

    def unknown(self, columns: Iterable[str]) -> tuple[str, ...]:
        """The names that are no column: DuckDB reads the name of a table as the whole row, private columns too."""
        known = {column.lower() for column in columns} | _CLOCKS
        return tuple(sorted(self.names - known))


def published_private(expr: str, data: Data) -> str | None:
    """What is wrong with an expression that would publish a private column, as the end of a sentence; None when nothing is.

    DuckDB is imported only where the expression mentions a private column.
    """
    private = private_names(data)
    words = expr.lower().replace('""', '"')
    if not any(name in words for name in private):
        return None
    label = read_label(expr)
    if label.wrong:
        return label.wrong
    for column in sorted(label.bare & private):
        if expr.strip().strip('"').lower() == column:
            return f"is the private column itself, and labels are published as they are; write what is to be learnt, such as {column} > 0"
        return (
            f"publishes the private column {column}, which stands outside of a comparison; a private column may stand only "
            f"in a comparison, BETWEEN, IN, LIKE or IS NULL: write what is to be learnt, such as {column} > 0"
        )
    return None


def private_names(data: Data) -> frozenset[str]:
    """The names, in lower case, under which an expression over the row source reads a private column."""
    row_source, *_ = data.sources
    private = set(data.private)
    names = private | {column.removeprefix(f"{row_source}_") for column in private}
    for source, spec in data.sources.items():
        names |= {column for column in spec.join if f"{source}_{column}" in private}
    return frozenset(name.lower() for name in names)


UNLISTED = "'Infinity'::DOUBLE"
"""The number, in SQL, of a label that is none of the classes."""


def label_number(label: Label, *, lenient: bool = False) -> str:
    """SQL for the label as a number: of one with classes its position in their list, or :data:`UNLISTED`.

    On lines of its own, so that a comment in the expression ends where it ends.

    :param lenient: whether a text that is no number is null and no error.
    """
    if not label.classes:
        return f"{'TRY_' * lenient}CAST((\n{label.expr}\n) AS DOUBLE)"
    values = class_values(label.classes)
    compared = "TRY_CAST(said.value AS DOUBLE)" if isinstance(values[0], float) else "CAST(said.value AS VARCHAR)"
    position = " ".join(f"WHEN {_literal(value)} THEN {number}" for number, value in enumerate(values))
    # NaN is how a file without nulls writes that a number is missing.
    missing = (
        "said.value IS NULL OR (typeof(said.value) IN ('DOUBLE', 'FLOAT') AND isnan(TRY_CAST(said.value AS DOUBLE)))"
    )
    return (  # of literals of ours, and of an expression that read_label has read
        f"(SELECT CAST(CASE WHEN {missing} THEN NULL ELSE CASE {compared} {position} ELSE {UNLISTED} END END AS DOUBLE) "  # noqa: S608
        f"FROM (SELECT (\n{label.expr}\n)) AS said(value))"
    )


def class_values(classes: Sequence[str]) -> list[float | str]:
    """What labels are held against: numbers where every class is written as one, else texts."""
    if all(_NUMBER.fullmatch(name) for name in classes):
        return [float(name) for name in classes]
    return list(classes)


def _literal(value: float | str) -> str:
    return repr(value) if isinstance(value, float) else f"'{value.replace(chr(39), chr(39) * 2)}'"


def read_label(expr: str) -> Expression:
    """Parse the expression of a label. Never raises for what is in it, runs nothing of it, and reads no file."""
    return read_expression(expr, _LABEL)


@lru_cache(maxsize=512)  # a project is read at every parse of a DAG file
def read_expression(expr: str, purpose: Purpose) -> Expression:
    """Parse an expression. Never raises for what is in it, runs nothing of it, and reads no file."""
    if len(expr) > _LONGEST:
        return Expression(f"has {len(expr)} characters, more than {_LONGEST}")
    if _depth(expr) > _DEEPEST:
        return Expression(f"has brackets nested more than {_DEEPEST} deep")
    try:
        parsed, alone = _parsed(expr, "TRUE")
        if isinstance(parsed, str):
            return Expression(parsed)
        if isinstance(alone, str) or _around(parsed) != _around(alone):
            return Expression("is more than one expression: it has clauses of a query, such as FROM or LIMIT")
        return _read(parsed["node"]["select_list"][0], purpose)
    except RecursionError:
        return Expression("is nested too deep to be read")


def _depth(expr: str) -> int:
    deepest = depth = 0
    for character in expr:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _parsed(*expressions: str) -> list[dict[str, Any] | str]:
    """Of each, the one statement that it makes when it is selected, as DuckDB's parser sees it, or what is wrong."""
    import duckdb

    off = {"enable_external_access": False, "autoload_known_extensions": False, "autoinstall_known_extensions": False}
    con = duckdb.connect(":memory:", config={"threads": 1, **off})  # 20 ms, far more than what is done with it
    try:
        con.execute("SET lock_configuration = true")
        return [_statement(con, expr) for expr in expressions]
    finally:
        con.close()


def _statement(con: duckdb.DuckDBPyConnection, expr: str) -> dict[str, Any] | str:
    import duckdb

    try:
        [(text,)] = con.execute("SELECT json_serialize_sql(?::VARCHAR)", [f"SELECT (\n{expr}\n)"]).fetchall()
    except duckdb.Error as error:  # what its JSON cannot hold; it names no value, as there is no row
        return f"cannot be read: {str(error).strip().splitlines()[0]}"
    value = json.loads(text)
    if value["error"] and value["error_type"] == "not implemented":  # no SELECT alone
        return "is more than one expression: it has statements in it"
    if value["error"]:
        return f"{str(value['error_type']).title()} Error: {value['error_message']}"
    statements = value["statements"]
    if len(statements) != 1 or len(statements[0]["node"].get("select_list", ())) != 1:
        return "is more than one expression"
    return dict(statements[0])


def _around(statement: Mapping[str, Any]) -> dict[str, Any]:
    """A statement without what it selects."""
    return {**statement, "node": {**statement["node"], "select_list": None}}


@dataclass(frozen=True)
class _At:
    """A part of the expression and what stands around it."""

    part: Any
    compared: bool
    """Whether it is part of a comparison, of which only true, false or null comes."""
    parameters: frozenset[str]
    """Of the functions around it: of each value of a list, a comparison may tell the one that is equal."""


def _read(expression: Any, purpose: Purpose) -> Expression:
    names: set[str] = set()
    bare: set[str] = set()
    left = [_At(expression, compared=False, parameters=frozenset())]
    while left:
        at = left.pop()
        if isinstance(at.part, list):
            left += [_At(part, at.compared, at.parameters) for part in at.part]
        if not isinstance(at.part, dict):
            continue
        kind = at.part.get("class")
        if kind in _REFUSED_CLASSES:
            return Expression(f"{_REFUSED_CLASSES[kind]}; {purpose.columns}")
        if kind == "FUNCTION" and str(at.part["function_name"]).lower() in _REFUSED_FUNCTIONS:
            return Expression(f"calls {at.part['function_name']}(), which tells nothing of a row")
        if kind == "FUNCTION" and str(at.part["function_name"]).lower() in _MAKE_ROWS:
            return Expression(f"makes several rows of one, with {at.part['function_name']}(); {purpose.several}")
        if kind == "COLUMN_REF":
            parts = [str(word).lower() for word in at.part["column_names"]]
            if parts[0] not in at.parameters:
                names.add(parts[1] if len(parts) > 1 and parts[0] in purpose.tables else parts[0])
            if not at.compared:
                bare.update(parts)
        left += _inside(at, kind)
    return Expression(None, frozenset(names), frozenset(bare))


def _inside(at: _At, kind: str | None) -> Iterator[_At]:
    """The parts of a part."""
    if kind == "LAMBDA" and at.part.get("syntax_type") != "SINGLE_ARROW":  # that is an operator of JSON today
        own = {word for names in _named(at.part["lhs"]) for word in names}
        yield _At(at.part["expr"], at.compared, at.parameters | own)
        return
    compared = at.compared or (not at.parameters and _compares(at.part))
    for part in at.part.values():
        yield _At(part, compared, at.parameters)


def _compares(part: Mapping[str, Any]) -> bool:
    if part.get("class") in ("COMPARISON", "BETWEEN"):
        return True
    if part.get("class") == "FUNCTION":
        return bool(part["is_operator"]) and part["function_name"] in _MATCHES
    return part.get("class") == "OPERATOR" and part["type"] in _COMPARING_OPERATORS


def _named(part: Any) -> Iterator[list[str]]:
    """The names in the head of a function without a name: ``x``, or ``x, y``."""
    if isinstance(part, list):
        for item in part:
            yield from _named(item)
    elif isinstance(part, dict):
        if part.get("class") == "COLUMN_REF":
            yield [str(word).lower() for word in part["column_names"]]
        else:
            yield from _named(list(part.values()))
