"""Columns that look like they tell who somebody is. What they hold is never shown, and a model reads none of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from updraft.draft.table import Column, Table
from updraft.draft.words import PRIVATE_WORDS, THINGS_WITH_NAMES, words_of

_SHARE = 0.5
"""Share of a column's values from which they are of a form."""
_EVERY = 4
"""Of the rows of a sample whose values are looked at."""
_FEW = 12
"""Different values up to which a column tells of nobody."""
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE = re.compile(r"(\+|00)\d[\d ()/.-]{6,18}\d|\(?0\d{1,5}\)?[ /-]\d[\d -]{3,14}\d|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}( ?[A-Z0-9]{4}){3,7}( ?[A-Z0-9]{1,3})?")
_IP = re.compile(r"(\d{1,3}\.){3}\d{1,3}")


def looks_private(table: Table, known: Collection[str]) -> dict[str, str]:
    """Columns that look private, and why, each as the end of a sentence.

    :param known: columns that are not looked at, such as the label and the event time.
    """
    sample = table.sample()
    told = {}
    for column in table.columns.values():
        if column.name in known or column.kind is None:
            continue
        written = (
            [str(value) for value in sample[column.name].dropna().iloc[::_EVERY]]
            if column.kind in ("text", "number", "integer")
            else []
        )
        if why := _by_name(column) or _by_values(column, written):
            told[column.name] = why
    return told


def _by_name(column: Column) -> str | None:
    own = words_of(column.name)
    whole = "".join(own)
    for what, words in PRIVATE_WORDS.items():
        if not (set(own) | {whole}) & words or (what == "name" and set(own) & THINGS_WITH_NAMES):
            continue
        if column.distinct > _FEW and column.kind != "boolean":
            return f"has the name of a {what}" if what[0] not in "ae" else f"has the name of an {what}"
    return None


def _by_values(column: Column, values: Sequence[str]) -> str | None:
    if not values or column.distinct <= _FEW:
        return None
    for what, is_one in _FORMS.items():
        if sum(bool(is_one(value.strip())) for value in values) >= _SHARE * len(values):
            return f"holds what looks like {what}"
    return None


def _is_card(text: str) -> bool:
    """Thirteen to nineteen digits whose checksum is right (ISO/IEC 7812-1, Luhn)."""
    digits = re.sub(r"[ -]", "", text.removesuffix(".0"))
    if not re.fullmatch(r"[2-6]\d{12,18}", digits):
        return False
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


_FORMS: Mapping[str, Callable[[str], object]] = {
    "e-mail addresses": _EMAIL.fullmatch,
    "account numbers (IBAN)": _IBAN.fullmatch,
    "network addresses": _IP.fullmatch,
    "phone numbers": _PHONE.fullmatch,
    "card numbers": _is_card,
}
