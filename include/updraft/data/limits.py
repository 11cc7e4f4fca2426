"""What a source's file may hold at most. A file beyond is refused whole: it is a mistake, or made to fill the machine."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, BinaryIO, Protocol

from updraft.data.catalogue import TYPES
from updraft.data.duck import columns_of, first, name, parquet
from updraft.errors import DataError

if TYPE_CHECKING:
    import duckdb

FILE_BYTES = 16 * 2**30
"""Of a file, once it is unpacked."""
ROWS = 200_000_000
COLUMNS = 2_000
CELL_BYTES = 100_000
"""Of a text, or of the text of a list or a structure."""
_CHUNK = 2**20
HEADER_BYTES = 2**20
"""Of the first line of a CSV file."""
_SMALL = frozenset(kind for name, kinds in TYPES.items() if name != "text" for kind in kinds)
"""Types whose values are small, whatever they are."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def unpacked(path: Path, folder: Path, what: str) -> Path:
    """The file itself, or what a ``.zip`` of one file or a ``.gz`` holds, unpacked into a folder under a name of ours.

    What is unpacked is counted, whatever the archive says of its size.

    :param what: how an error begins: the source and its URL.
    :raises DataError: when it is no such archive, holds more than one file, or is larger than :data:`FILE_BYTES`.
    """
    try:
        if path.suffix == ".zip":
            return _of_zip(path, folder, what)
        if path.suffix == ".gz":
            target = folder / "unpacked.csv"
            with gzip.open(path) as packed, target.open("wb") as file:
                copy(packed, file, what)
            return target
    except EOFError as error:
        raise DataError(
            f"{what} ends before its {path.suffix[1:]} archive does: it was cut off while it was written or copied; copy it again"
        ) from error
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error):
        kind = path.suffix[1:]
        raise DataError(
            f"{what} is no {kind} file, or a broken one; name it without .{kind} if it is not packed, or copy it again"
        ) from None  # the error quotes the first bytes
    if path.stat().st_size > FILE_BYTES:
        raise DataError(_too_large(what))
    return path


def _of_zip(path: Path, folder: Path, what: str) -> Path:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            inside = ", ".join(member.filename for member in members[:5]) or "nothing"
            raise DataError(f"{what} holds {inside}{', …' if len(members) > 5 else ''}; a zip holds one CSV file")
        [member] = members
        if _leads_outside(member.filename):
            raise DataError(
                f"{what} holds a file named {member.filename!r}, which leads out of the zip; name it data.csv"
            )
        target = folder / f"unpacked{PurePosixPath(member.filename).suffix}"
        try:
            with archive.open(member) as packed, target.open("wb") as file:
                copy(packed, file, what)
        except (RuntimeError, NotImplementedError) as error:  # it asks for a password, or for a method that is not here
            raise DataError(
                f"{what} cannot be unpacked: {error}; pack it again, with deflate and no password"
            ) from error
    return target


def _leads_outside(member: str) -> bool:
    windows, posix = PureWindowsPath(member), PurePosixPath(member)
    return (
        bool(windows.drive) or windows.is_absolute() or posix.is_absolute() or ".." in windows.parts or "\0" in member
    )


def copy(packed: _Readable, file: BinaryIO, what: str) -> None:
    """Copy in pieces, and stop where it becomes larger than a file may be.

    :raises DataError: with the limit.
    """
    written = 0
    while chunk := packed.read(_CHUNK):
        written += len(chunk)
        if written > FILE_BYTES:
            raise DataError(_too_large(what))
        file.write(chunk)


def _too_large(what: str) -> str:
    return (
        f"{what} holds more than {FILE_BYTES / 2**30:g} GiB; a source has one file for each partition at that size: "
        "put {key} into its URL"
    )


def check_columns(columns: int, what: str) -> None:
    """Refuse a table with more columns than :data:`COLUMNS`.

    :raises DataError: with the limit.
    """
    if columns > COLUMNS:
        raise DataError(too_wide(what))


def too_wide(what: str) -> str:
    """What to say of a table with more columns than :data:`COLUMNS`."""
    return f"{what} has more than {COLUMNS} columns, or a first line that does not end; take out what no model reads"


def check_rows(con: duckdb.DuckDBPyConnection, table: str, what: str) -> None:
    """Refuse a table with more rows than :data:`ROWS`; of a Parquet file they are counted without reading any.

    :raises DataError: with the limit.
    """
    (rows,) = first(con, f"SELECT count(*) FROM {table}")  # noqa: S608  -- a table expression of data/duck.py
    if rows > ROWS:
        raise DataError(
            f"{what} has {rows} rows, more than {ROWS}; let the source have one file for each partition ({{key}})"
        )


def check_cells(con: duckdb.DuckDBPyConnection, path: Path, what: str) -> None:
    """Refuse a Parquet file with a cell longer than :data:`CELL_BYTES`; tells the column and no value.

    :raises DataError: with column and limit.
    """
    long = [column for column, kind in columns_of(con, parquet(str(path))).items() if not _is_small(kind)]
    if not long:
        return
    lengths = ", ".join(f"max(strlen(CAST({name(column)} AS VARCHAR)))" for column in long)
    lengths_of_longest = first(con, f"SELECT {lengths} FROM {parquet(str(path))}")  # noqa: S608  -- names of data/duck.py
    for column, length in zip(long, lengths_of_longest, strict=True):
        if (length or 0) > CELL_BYTES:
            raise DataError(
                f"{what}: column {column!r} has a cell of {length} bytes, more than {CELL_BYTES}; a quote that does not "
                "close looks like this too. Take the column out of the source, or shorten what is in it"
            )


def _is_small(kind: str) -> bool:
    return kind.partition("(")[0] in _SMALL
