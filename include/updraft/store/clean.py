"""Column types that take whatever comes: the store's edge, where values are made such that every database can hold them.

PostgreSQL takes no NUL in text, no encoding takes half of a surrogate pair, and JSON has no word for a number that is not
finite. Such values come from error messages, file contents and figures. They must not fail the write that tells of them.
"""

from __future__ import annotations

import math
import re
from typing import Any

from sqlalchemy import JSON, Dialect, String, Text
from sqlalchemy.types import TypeDecorator

_UNTAKEN = re.compile("[\x00\ud800-\udfff]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean_text(text: str) -> str:
    """The text with each character that a database cannot hold as U+FFFD."""
    return _UNTAKEN.sub(REPLACEMENT, text)


def clean_value(value: Any) -> Any:
    """A JSON value with clean texts, and with numbers that are not finite as the texts ``inf``, ``-inf`` and ``nan``."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, dict):
        return {clean_text(key) if isinstance(key, str) else key: clean_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_value(item) for item in value]
    return value


class _CleanText:
    """What both kinds of text do with a value on its way in."""

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return clean_text(value) if isinstance(value, str) else value


class CleanString(_CleanText, TypeDecorator[str]):
    """Text of a limited length."""

    impl = String
    cache_ok = True


class CleanText(_CleanText, TypeDecorator[str]):
    """Text of any length."""

    impl = Text
    cache_ok = True


class CleanJSON(TypeDecorator[Any]):
    """A JSON value."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """The clean value."""
        return clean_value(value)
