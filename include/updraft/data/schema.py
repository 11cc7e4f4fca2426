"""The types of a source's columns: stated by the contract, or told once from a file, and the same for every later file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from updraft.data.catalogue import TYPES

ColumnKind = Literal["text", "integer", "number", "boolean", "time", "other"]


@dataclass(frozen=True)
class ColumnType:
    """The type of a column, and where it comes from."""

    kind: ColumnKind
    storage: str
    """DuckDB's type; of a number BIGINT where all numbers of an extracted file are whole, whatever stands here."""
    origin: Literal["stated", "role", "inferred"]
    """From the contract; from what the project uses the column for (event time, key, join, cluster, private); or from a file."""
    since: str = ""
    """Key of the partition whose file an inferred type was told from."""

    def to_dict(self) -> dict[str, str]:
        """A JSON value."""
        return {"kind": self.kind, "storage": self.storage, "origin": self.origin, "since": self.since}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ColumnType:
        """The inverse of :meth:`to_dict`.

        :raises ValueError: when it is none.
        """
        if value.get("kind") not in get_args(ColumnKind):
            raise ValueError(f"{value.get('kind')!r} is no kind of a column")
        return cls(value["kind"], str(value["storage"]), value["origin"], str(value.get("since", "")))


STORAGE = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "text": "VARCHAR",
    "time": "TIMESTAMP WITH TIME ZONE",
    "boolean": "BOOLEAN",
}
"""DuckDB's type for each kind, where nothing says more."""


def stated(kind: str) -> ColumnType:
    """The type that a contract states."""
    kinds: Mapping[str, ColumnKind] = {known_kind: known_kind for known_kind in get_args(ColumnKind)}
    return ColumnType(kinds[kind], STORAGE[kind], "stated")


def of_storage(storage: str) -> tuple[ColumnKind, str]:
    """Kind and storage for a column of a Parquet file, which states its type itself."""
    plain = storage.partition("(")[0]
    if plain in ("UBIGINT", "HUGEINT", "UHUGEINT"):  # they hold what no BIGINT does
        return "integer", plain
    if plain in TYPES["number"]:
        return "number", "BIGINT" if plain in TYPES["integer"] else "DOUBLE"
    if plain in TYPES["time"]:
        zoned = plain in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
        return "time", "TIMESTAMP WITH TIME ZONE" if zoned else "DATE" if plain == "DATE" else "TIMESTAMP"
    if plain == "BOOLEAN":
        return "boolean", plain
    return ("text", "VARCHAR") if plain in ("VARCHAR", "ENUM", "UUID") else ("other", storage)
