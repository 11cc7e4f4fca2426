"""Which Arrow type a database's type becomes. What no model learns from is refused by its name, and not guessed."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_WHOLE = ("smallint", "integer", "int", "bigint", "tinyint", "mediumint", "oid", "serial", "bigserial")
_FLOATS = ("real", "double precision", "double", "float", "float4", "float8")
_DECIMALS = ("numeric", "decimal", "number")
_TEXTS = (
    "text",
    "varchar",
    "character varying",
    "character",
    "char",
    "bpchar",
    "nvarchar",
    "nchar",
    "clob",
    "string",
    "citext",
    "name",
    "enum",
)
_AS_TEXT = ("uuid", "json", "jsonb", "inet", "cidr", "macaddr")
"""Types whose values are read as texts, which the database itself writes."""
_MOST_DIGITS, _DIGITS_OF_BIGINT = 38, 18
READ = "whole numbers, floats, numeric, text, boolean, date, timestamp, timestamptz, uuid, json and enums"


def plain_type(written: str) -> tuple[str, tuple[int, ...]]:
    """Name and arguments of a type as databases write it: ``NUMERIC(10, 2)`` -> ``("numeric", (10, 2))``."""
    lower = written.lower()
    arguments = re.search(r"\(([\d, ]+)\)", lower)
    name = re.sub(r"\s*\([\d, ]*\)", "", lower).strip()
    return name, tuple(int(digits) for digits in arguments[1].split(",")) if arguments else ()


def is_read_as_text(written: str) -> bool:
    """Whether the database is asked for the value as text."""
    return plain_type(written)[0] in _AS_TEXT


def is_float_of_decimals(written: str) -> bool:
    """Whether it is a number of any many digits, which is read as float64."""
    name, arguments = plain_type(written)
    return name in _DECIMALS and (not arguments or arguments[0] > _MOST_DIGITS)


def arrow_type(written: str) -> pa.DataType | None:
    """The Arrow type of a column; None for a type that is not read.

    A numeric of at most 38 digits stays exact; one without a stated precision is float64.
    """
    import pyarrow as pa

    name, arguments = plain_type(written)
    simple: dict[str, pa.DataType] = {
        **dict.fromkeys(_WHOLE, pa.int64()),
        **dict.fromkeys(_FLOATS, pa.float64()),
        **dict.fromkeys((*_TEXTS, *_AS_TEXT), pa.string()),
        "boolean": pa.bool_(),
        "bool": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us"),
        "timestamp without time zone": pa.timestamp("us"),
        "datetime": pa.timestamp("us"),
        "timestamp with time zone": pa.timestamp("us", "UTC"),
        "timestamptz": pa.timestamp("us", "UTC"),
    }
    if name in _DECIMALS:
        if is_float_of_decimals(written):
            return pa.float64()
        digits, scale = (*arguments, 0)[:2]
        return pa.int64() if not scale and digits <= _DIGITS_OF_BIGINT else pa.decimal128(digits, scale)
    return simple.get(name)


def arrow_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """A column's values; a decimal that is not finite is missing, as no exact number holds it.

    :raises pa.ArrowException: when a value does not fit, such as a fraction in whole numbers.
    """
    import pyarrow as pa

    if pa.types.is_floating(kind):
        values = [None if value is None else float(value) for value in values]
    elif pa.types.is_decimal(kind) or pa.types.is_integer(kind):
        values = [None if isinstance(value, Decimal) and not value.is_finite() else value for value in values]
        if pa.types.is_integer(kind):
            values = [int(value) if isinstance(value, Decimal) and value == int(value) else value for value in values]
    return pa.array(values, kind)
