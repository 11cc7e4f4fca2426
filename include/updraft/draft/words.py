"""The words of a column's name, and lists of words that tell what a column may be. English and German; a name tells nothing for certain."""

from __future__ import annotations

import re
from collections.abc import Collection

ID_WORDS = frozenset(("id", "ids", "key", "uuid", "guid", "nr", "no", "number", "nummer", "kennung", "index"))
TIME_WORDS = frozenset(
    (
        "at", "created", "date", "datetime", "datum", "day", "epoch", "hour", "on", "tag", "time", "timestamp", "ts", "unix", "when", "zeit",
        "zeitpunkt", "zeitstempel",
    )
)  # fmt: skip
EVENT_TIMES = frozenset(
    (
        "at", "date", "datetime", "datum", "event_at", "event_date", "event_time", "eventtime", "time", "time_hour", "timestamp", "ts",
        "zeit", "zeitpunkt", "zeitstempel",
    )
)  # fmt: skip
"""Whole names, in lower case."""
BIRTH_WORDS = frozenset(("birth", "birthday", "birthdate", "born", "dob", "geburt", "geburtstag", "geburtsdatum"))
LABELS = frozenset(("label", "target", "y", "zielgroesse", "ziel"))
"""Whole names, in lower case."""
OUTCOME_WORDS = frozenset(
    (
        "approved", "attrition", "bought", "canceled", "cancelled", "churn", "churned", "clicked", "conversion", "converted", "default",
        "defaulted", "delayed", "exited", "failed", "failure", "fraud", "fraudulent", "gekuendigt", "late", "left", "lost", "outcome",
        "phishing", "purchased", "renewed", "responded", "response", "result", "returned", "spam", "survived", "verspaetet", "won",
    )
)  # fmt: skip
AFTERWARDS_WORDS = frozenset(
    (
        "actual", "after", "cancellation", "closed", "closing", "completed", "ended", "final", "finished", "outcome", "resolution", "resolved",
        "result", "settled",
    )
)  # fmt: skip
"""Of what is known only when it is over."""
PRIVATE_WORDS = {
    "name": frozenset(
        ("firstname", "forename", "fullname", "lastname", "name", "nachname", "surname", "username", "vorname")
    ),
    "e-mail address": frozenset(("email", "mail")),
    "phone number": frozenset(("fax", "handy", "mobile", "phone", "telefon", "telephone")),
    "address": frozenset(("address", "adresse", "street", "strasse", "straße")),
    "account or card": frozenset(("card", "cardnumber", "iban", "creditcard", "kontonummer")),
    "number of a person": frozenset(("passport", "ssn", "steuernummer", "taxid")),
    "date of birth": BIRTH_WORDS,
    "network address": frozenset(("ip", "ipaddress", "mac")),
}
THINGS_WITH_NAMES = frozenset(
    (
        "brand",
        "city",
        "company",
        "country",
        "file",
        "host",
        "item",
        "plan",
        "product",
        "service",
        "shop",
        "store",
        "team",
    )
)
"""Whose name is no person's."""
YES = frozenset(("1", "bad", "fraud", "ja", "late", "malignant", "oui", "pos", "positive", "si", "spam", "t", "true", "y", "yes")) | (
    OUTCOME_WORDS - {"approved"}
)  # fmt: skip
NO = frozenset(
    (
        "0",
        "benign",
        "f",
        "false",
        "good",
        "ham",
        "legitimate",
        "n",
        "neg",
        "negative",
        "nein",
        "no",
        "non",
        "normal",
        "ok",
        "on time",
    )
)


_PLAIN = str.maketrans(dict[str, str | int | None]({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"}))


def words_of(column: str) -> tuple[str, ...]:
    """The words of a name in lower case: ``customerID`` and ``customer_id`` are ``customer`` and ``id``."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", column)
    return tuple(re.findall(r"[^\W\d_]+|\d+", parted.lower()))


def has_word(column: str, words: Collection[str]) -> bool:
    """Whether a word of a name, or all of them written as one, is among some words."""
    own = words_of(column)
    return any(word in words for word in own) or "".join(own) in words


def names_an_id(column: str) -> bool:
    """Whether a name ends, or begins, as that of an identifier."""
    own = words_of(column)
    return bool(own) and (own[-1] in ID_WORDS or own[0] in ("id", "uuid", "guid"))


def slug(text: str, otherwise: str) -> str:
    """A text as a name of project.yaml: lower-case letters, digits and ``_``, beginning with a letter."""
    plain = text.lower().translate(_PLAIN)
    made = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return made[:63] if re.match(r"[a-z]", made) else otherwise
