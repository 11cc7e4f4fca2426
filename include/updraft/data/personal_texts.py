"""What texts of persons look like: e-mail addresses, phone, card and account numbers; also within free text, which no rule of a contract reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE = re.compile(r"(\+|00)\d[\d ()/.-]{6,18}\d|\(?0\d{1,5}\)?[ /-]\d[\d -]{3,14}\d|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}( ?[A-Z0-9]{4}){3,7}( ?[A-Z0-9]{1,3})?")
_IP = re.compile(r"(\d{1,3}\.){3}\d{1,3}")
_EMAIL_WITHIN = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_PHONE_WITHIN = re.compile(
    r"(?<![\w.+/-])(\+\d[\d ()/.-]{6,18}\d|\(?0\d{1,5}\)?[ /-]\d[\d -]{4,14}\d|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?![\w/-])"
)
_DIGITS_WITHIN = re.compile(r"(?<![\w.-])[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![\w-])")
_IBAN_WITHIN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_FEW, _SHARE, _LOOKED_AT = 3, 0.01, 2_000
"""Cells, and their share, from which a column is told; and cells that are looked at, so that the cost does not grow with a partition."""


def is_card(text: str) -> bool:
    """Thirteen to nineteen digits whose checksum is right (ISO/IEC 7812-1, Luhn)."""
    digits = re.sub(r"[ -]", "", text.removesuffix(".0"))
    if not re.fullmatch(r"[2-6]\d{12,18}", digits):
        return False
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


FORMS: Mapping[str, Callable[[str], object]] = {
    "e-mail addresses": _EMAIL.fullmatch,
    "account numbers (IBAN)": _IBAN.fullmatch,
    "network addresses": _IP.fullmatch,
    "phone numbers": _PHONE.fullmatch,
    "card numbers": is_card,
}
"""Of a whole text."""
_WITHIN: Mapping[str, Callable[[str], object]] = {
    "e-mail addresses": _EMAIL_WITHIN.search,
    "account numbers (IBAN)": lambda text: any(_is_iban(match[0]) for match in _IBAN_WITHIN.finditer(text)),
    "card numbers": lambda text: any(is_card(match[0]) for match in _DIGITS_WITHIN.finditer(text)),
    "phone numbers": _PHONE_WITHIN.search,
}
"""Within a text, where a form alone says less: cards and accounts by their checksums."""


def told_within(rows: pd.DataFrame, private: Collection[str]) -> Iterator[str]:
    """A sentence for each column of texts in which such texts stand, and that is no private one. No value is quoted.

    :param rows: as they are published.
    """
    for column in rows.columns:
        if str(column).startswith("_") or column in private or rows[column].dtype != object:
            continue
        texts = [text for text in rows[column].dropna().head(_LOOKED_AT) if isinstance(text, str)]
        for what, stands_in in _WITHIN.items():
            count = sum(bool(stands_in(text)) for text in texts)
            if count >= max(_FEW, _SHARE * len(texts)):
                yield (
                    f"column {column!r} holds what looks like {what} in {count:,} of {len(texts):,} texts, and is published as it is; put it "
                    "under data.private, or leave it out of data.sources.NAME.columns, unless it is meant to be read"
                )
                break  # an account number has the form of a phone number too


def _is_iban(text: str) -> bool:
    """Whether the checksum is right (ISO 13616: the number that the letters give leaves 1 when divided by 97)."""
    plain = text.replace(" ", "")
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1
