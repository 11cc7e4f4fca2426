"""The bytes of a CSV file: told apart from what is no text at all, and written anew as UTF-8 where a source says that they are otherwise."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO, Literal, TextIO

from updraft.errors import DataError

_CHUNK = 2**20
_NO_TEXT = (
    (b"\x1f\x8b", "is packed with gzip; name it .csv.gz"),
    (b"PK\x03\x04", "is a zip archive or a workbook (.xlsx); name an archive .csv.zip, and save a workbook as CSV"),
    (b"PAR1", "is a Parquet file; name it .parquet"),
    (b"BZh", "is packed with bzip2; pack it with gzip, as .csv.gz, or not at all"),
    (b"(\xb5/\xfd", "is packed with Zstandard; pack it with gzip, as .csv.gz, or not at all"),
    (b"\xd0\xcf\x11\xe0", "is a workbook (.xls); save it as CSV"),
    (codecs.BOM_UTF32_LE, "is written in utf-32; save it as UTF-8"),
    (codecs.BOM_UTF32_BE, "is written in utf-32; save it as UTF-8"),
)
"""First bytes of files that somebody named .csv, and what to do about them."""
_PAGES = (b"<!doctype html", b"<html", b"<?xml")
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_CODECS = {"latin-1": "latin-1", "windows-1252": "cp1252"}
_ONLY_WINDOWS = bytes(range(0x80, 0xA0))
"""Control characters in Latin-1, which no text has; in Windows-1252 the euro, dashes and quotation marks."""


def check_text(start: bytes, what: str) -> None:
    """Refuse a file whose first bytes are those of something else.

    :param what: how an error begins: the source and its URL.
    :raises DataError: with what it is, and what to do.
    """
    if not start.strip():
        raise DataError(f"{what} is empty: it has not even a header")
    for mark, told in _NO_TEXT:
        if start.startswith(mark):
            raise DataError(f"{what} {told}")
    if start.lstrip().lower().startswith(_PAGES):
        raise DataError(f"{what} is a web page or XML, and no table; a server may have answered with a page of its own")


def check_parquet(path: Path, what: str) -> None:
    """Refuse a file that does not begin and end as Parquet does.

    :raises DataError: with the likely cause, and what to do.
    """
    with path.open("rb") as file:
        begin = file.read(4)
        file.seek(max(0, path.stat().st_size - 4))
        end = file.read(4)
    if not begin:
        raise DataError(f"{what} is empty: it has not even a schema; write it again")
    if begin == b"PARE":
        raise DataError(f"{what} is an encrypted Parquet file; write it without encryption")
    if begin != b"PAR1":
        other = next((told for mark, told in _NO_TEXT if begin.startswith(mark[:4])), None)
        raise DataError(
            f"{what} {other or 'is no Parquet file; name it as what it is, such as .csv, or write it again'}"
        )
    if end != b"PAR1" or path.stat().st_size < 12:
        raise DataError(
            f"{what} ends before its Parquet does: it was cut off while it was written or copied; copy it again"
        )


def in_utf8(path: Path, folder: Path, what: str, encoding: str) -> Path:
    """The file itself where it is written in UTF-8, or a copy in a folder that is.

    :raises DataError: when it is written otherwise, with the line.
    """
    with path.open("rb") as file:
        start = file.read(_CHUNK)
        check_text(start, what)
        written = next((mark for mark in _UTF16 if start.startswith(mark)), None)
        if encoding != "utf-16" and written:
            raise DataError(f"{what} is written in utf-16; say so with `encoding: utf-16`, or save it as UTF-8")
        if encoding == "utf-8":
            return path
        if start.startswith(codecs.BOM_UTF8):
            raise DataError(f"{what} is written in UTF-8; leave `encoding: {encoding}` out of its source")
        if encoding == "utf-16":
            codec, skipped = (_UTF16[written], len(written)) if written else (_utf16_without_mark(start, what), 0)
        else:
            codec, skipped = _CODECS[encoding], 0
        file.seek(skipped)
        target = folder / "in_utf8.csv"
        with target.open("w", encoding="utf-8", newline="") as copy:
            _transcode(file, copy, codec, what, encoding)
    return target


Encoding = Literal["ascii", "utf-8", "windows-1252", "utf-16"]


def encoding_of(path: Path) -> Encoding:
    """How a text file seems to be written: what reads as UTF-8 is UTF-8; else it is of Windows, as most others are."""
    with path.open("rb") as file:
        start = file.read(_CHUNK)
        if any(start.startswith(mark) for mark in _UTF16):
            return "utf-16"
        decoder, plain, chunk = codecs.getincrementaldecoder("utf-8")(), True, start
        while True:
            plain = plain and chunk.isascii()
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                return "windows-1252"
            if not chunk:
                return "ascii" if plain else "utf-8"
            chunk = file.read(_CHUNK)


def _utf16_without_mark(start: bytes, what: str) -> str:
    """Which of its two orders a file without a mark is in: in most texts the upper byte of most characters is zero."""
    low, high = start[0::2].count(0), start[1::2].count(0)
    if max(low, high) * 10 < len(start):
        raise DataError(f"{what} is not written in utf-16; save it as UTF-8, and leave `encoding` out of its source")
    return "utf-16-le" if high > low else "utf-16-be"


def _transcode(file: BinaryIO, copy: TextIO, codec: str, what: str, encoding: str) -> None:
    decoder, line = codecs.getincrementaldecoder(codec)(), 1
    while True:
        chunk = file.read(_CHUNK)
        if codec == "latin-1" and (odd := chunk.translate(None, bytes(set(range(256)) - set(_ONLY_WINDOWS)))):
            line += chunk[: chunk.index(odd[:1])].count(b"\n")
            raise DataError(
                f"{what}: line {line} has a character that latin-1 has not; it may be a euro sign, a dash or a quotation mark of "
                "Windows: say so with `encoding: windows-1252`, or save the file as UTF-8"
            )
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].decode(codec, errors="ignore").count("\n")
            cut = not chunk or error.reason in ("truncated data", "unexpected end of data")
            hint = (
                "it may have been cut off while it was copied" if cut else "save it as UTF-8, and leave `encoding` out"
            )
            raise DataError(f"{what}: line {line} is not written in {encoding}: {hint}") from None
        copy.write(text)
        line += text.count("\n")
        if not chunk:
            return
