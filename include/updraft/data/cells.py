"""SQL that reads a cell of a file to its column's type. A cell that does not fit is a *misfit*: a breach of its row, with the column's name.

No reading drops, merges or rounds a value: `docs/files.md` has the rules by example.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from updraft.data.catalogue import TYPES
from updraft.data.duck import literal, name
from updraft.data.schema import STORAGE, ColumnType
from updraft.spec.source import EPOCHS, Source

NULLS = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
"""Texts that stand for a missing number, boolean or time in a CSV file. In a column of texts they are texts: NA is a country."""
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
PLAIN_NUMBER = r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?"
"""Without leading zeros: a 007 would not print back the same."""
_PLAIN_INTEGER = r"[+-]?(0|[1-9]\d{0,17})"
_LONG = r"[+-]?\d{16,}(\.\d*)?"
"""Whole numbers that a float64 may round: from 2⁵³ on it does."""
DATE = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
CLOCK = r"\d{1,2}:\d{2}(:\d{2}([.]\d+)?)?"
_ZONE = r" ?(Z|UTC|[+-]\d{2}(:?\d{2})?)"
TIME = rf"{DATE}([T ]{CLOCK}({_ZONE})?)?"
_ZONED = rf"{DATE}[T ]{CLOCK}{_ZONE}"
_AMBIGUOUS = r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}.*"
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_SET_BACK = (30, 60, 120)
"""Minutes by which clocks are set back: an hour almost everywhere, half of one on Lord Howe Island, two at Troll in Antarctica."""
EXACT = 2**53
"""Whole float64 numbers below are exact."""


@dataclass(frozen=True)
class Cell:
    """SQL for a column of a file, read to a type."""

    value: str
    """Null where the cell is missing, and where it is a misfit."""
    present: str | None
    """True where the cell holds something, so that a value that is null is a misfit; None where every cell fits."""
    text: str
    """The cell as text."""


def as_text(value: str, storage: str) -> str:
    """SQL for a value as text, the same whether its column is kept as whole numbers in this partition or not."""
    if storage not in ("FLOAT", "DOUBLE"):
        return _written(value, storage)
    whole = f"{value} = floor({value}) AND abs({value}) < {EXACT}"
    return f"(CASE WHEN {whole} THEN CAST(CAST({value} AS BIGINT) AS VARCHAR) ELSE CAST({value} AS VARCHAR) END)"


def _written(value: str, storage: str) -> str:
    """SQL for a value as DuckDB writes it; but 0.01, which it writes as .01 where a decimal has no place before the point."""
    text = f"CAST({value} AS VARCHAR)"
    places = re.fullmatch(r"DECIMAL\((\d+), ?(\d+)\)", storage)
    return rf"regexp_replace({text}, '^(-?)\.', '\10.')" if places and places[1] == places[2] else text


def cell(column: str, storage: str, wanted: ColumnType, source: Source, *, written: bool, whole: bool) -> Cell:
    """SQL that reads a column of ``f`` to its type.

    :param storage: DuckDB's type of the column in the file.
    :param written: whether the file is text, whose missing values are words.
    :param whole: whether all numbers of the column are whole, so that they are kept as such.
    """
    own = f"f.{name(column)}"
    text = _written(own, storage)
    plain = storage.partition("(")[0]
    if wanted.kind == "text":
        return _text(own, text, plain, source, written=written)
    if plain == "VARCHAR":
        value, present = _read(own, wanted, source, whole=whole)
    else:
        value, present = _converted(own, storage, wanted, source, whole=whole), f"{own} IS NOT NULL"
        if plain in ("FLOAT", "DOUBLE"):
            present = f"({own} IS NOT NULL AND NOT isnan({own}))"
    return Cell(value, present, text)


def is_whole(column: str, storage: str, wanted: ColumnType, source: Source) -> str:
    """SQL that is true where a number column's cell is missing, whole, or a misfit anyway."""
    own, plain = f"f.{name(column)}", storage.partition("(")[0]
    if plain in TYPES["integer"] and plain not in ("UBIGINT", "HUGEINT"):
        return "TRUE"
    if plain == "VARCHAR":
        text = number_text(own, source)
        plain_integer = f"regexp_full_match({text}, {literal(_PLAIN_INTEGER)})"
        no_number = f"NOT regexp_full_match({text}, {literal(_NUMBER)})"
        # What is too large for an integer is no whole number to be kept as one: 1e30 does not print back, it is null there.
        return f"({own} IS NULL OR COALESCE({_prints_back(text)}, FALSE) OR {plain_integer} OR {no_number})"
    if plain in ("FLOAT", "DOUBLE") and wanted.origin == "role":
        return f"COALESCE({own} = floor({own}) AND abs({own}) < {EXACT} OR isnan({own}), TRUE)"
    return "FALSE"


def _text(own: str, text: str, plain: str, source: Source, *, written: bool) -> Cell:
    if plain == "VARCHAR":
        nulls = source.nulls if written else ()
        return Cell(f"CASE WHEN {own} IN ({listed(nulls)}) THEN NULL ELSE {own} END" if nulls else own, None, own)
    if plain in ("FLOAT", "DOUBLE"):  # a column of whole numbers with a gap in it, as pandas writes them
        exact = f"{own} = floor({own}) AND abs({own}) < {EXACT}"
        return Cell(
            f"CASE WHEN isnan({own}) THEN NULL WHEN {exact} THEN CAST(CAST({own} AS BIGINT) AS VARCHAR) ELSE {text} END",
            None,
            text,
        )
    return Cell(text, None, text)


def _read(own: str, wanted: ColumnType, source: Source, *, whole: bool) -> tuple[str, str]:
    """SQL for a text as a value of the type, and for whether there is something to read."""
    text = f"trim({own})"
    present = f"({own} IS NOT NULL AND {text} NOT IN ({listed((*NULLS, *source.nulls))}))"
    lenient = wanted.origin == "stated"
    if wanted.kind in ("number", "integer"):
        number = number_text(own, source)
        fits = f"regexp_full_match({number}, {literal(_NUMBER if lenient else PLAIN_NUMBER)})"
        if wanted.kind == "integer":
            double = f"TRY_CAST({number} AS DOUBLE)"
            exact = f"{double} = floor({double}) AND abs({double}) < {EXACT}"
            digits = f"regexp_full_match({number}, '[+-]?\\d+')"
            return (
                f"CASE WHEN {_prints_back(number)} THEN TRY_CAST({number} AS {wanted.storage}) "
                f"WHEN {digits} THEN TRY_CAST({number} AS {wanted.storage}) "
                f"WHEN {fits} AND {exact} THEN CAST({double} AS BIGINT) END",
                present,
            )
        exact = f"NOT {rounded(number)}"
        if whole:
            integer = f"TRY_CAST({number} AS BIGINT)"
            short = f"{_prints_back(number)} AND abs({integer}) < {EXACT}"
            return f"CASE WHEN {short} THEN {integer} WHEN {fits} AND {exact} THEN {integer} END", present
        double = f"TRY_CAST({number} AS DOUBLE)"
        return f"CASE WHEN {fits} AND {exact} AND isfinite({double}) THEN {double} END", present
    if wanted.kind == "boolean":
        true, false = (_TRUE, _FALSE) if lenient else (("true",), ("false",))
        lower = f"lower({text})"
        return (
            f"CASE WHEN {lower} IN ({listed(true)}) THEN TRUE WHEN {lower} IN ({listed(false)}) THEN FALSE END",
            present,
        )
    if wanted.kind == "time":
        if wanted.storage == STORAGE["time"]:
            iso = time_of(text, "VARCHAR", source.model_copy(update={"time_format": None}))
            as_stated = time_of(text, "VARCHAR", source)
            return (f"COALESCE({as_stated}, {iso})" if source.time_format else iso), present
        if source.time_format and source.time_format not in EPOCHS:
            read = f"CAST(try_strptime({text}, {literal(source.time_format)}) AS {wanted.storage})"
            return f"COALESCE({read}, {_iso(text, wanted.storage)})", present
        return _iso(text, wanted.storage), present
    return f"CAST(NULL AS {wanted.storage})", present


def _iso(text: str, storage: str) -> str:
    written = DATE if storage == "DATE" else rf"{DATE}([T ]{CLOCK})?"  # a clock, or an offset, is not dropped
    return f"CASE WHEN regexp_full_match({text}, {literal(written)}) THEN TRY_CAST({text} AS {storage}) END"


def _converted(own: str, storage: str, wanted: ColumnType, source: Source, *, whole: bool) -> str:
    """SQL for a typed cell as a value of another type; null where it would not be the same value."""
    plain = storage.partition("(")[0]
    numeric = plain in TYPES["number"]
    if wanted.kind == "integer" and plain in ("FLOAT", "DOUBLE", "DECIMAL"):
        return f"CASE WHEN {own} = floor({own}) AND abs({own}) < {EXACT} THEN CAST({own} AS BIGINT) END"
    if wanted.kind == "integer" and numeric:
        return f"TRY_CAST({own} AS {wanted.storage})"
    if wanted.kind == "number" and plain in TYPES["integer"]:
        return f"CASE WHEN abs({own}) < {EXACT} THEN CAST({own} AS {'BIGINT' if whole else 'DOUBLE'}) END"
    if wanted.kind == "number" and numeric:
        if whole:
            return f"TRY_CAST({own} AS BIGINT)"
        if plain in ("FLOAT", "DOUBLE"):  # what is infinite is no number here either, as in text
            return f"CASE WHEN isfinite({own}) THEN CAST({own} AS DOUBLE) END"
        return f"TRY_CAST({own} AS DOUBLE)"
    if wanted.kind == "boolean" and (plain == "BOOLEAN" or (numeric and wanted.origin == "stated")):
        return own if plain == "BOOLEAN" else f"CASE WHEN {own} = 1 THEN TRUE WHEN {own} = 0 THEN FALSE END"
    if wanted.kind == "time" and plain in TYPES["time"]:
        return _converted_time(own, plain, wanted, source)
    if wanted.kind == "other":  # a cast rounds what stands in lists, and drops fields of structures
        return own if storage == wanted.storage else f"CAST(NULL AS {wanted.storage})"
    return f"CAST(NULL AS {STORAGE.get(wanted.kind, wanted.storage)})"


def _converted_time(own: str, plain: str, wanted: ColumnType, source: Source) -> str:
    """SQL for a time as one of another precision: null where a clock, or a zone, would be dropped."""
    if wanted.storage == STORAGE["time"]:
        return time_of(own, plain, source)
    if plain in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"):
        return f"CAST(NULL AS {wanted.storage})"
    cast = f"CAST({own} AS {wanted.storage})"
    if wanted.storage != "DATE":
        return cast
    return f"CASE WHEN CAST({cast} AS TIMESTAMP) = CAST({own} AS TIMESTAMP) THEN {cast} END"


def time_of(value: str, storage: str, source: Source, *, skipped: bool = False) -> str:
    """SQL for a time as TIMESTAMPTZ; null where it is none in the stated format, or, without one, in ISO 8601.

    A wall-clock time that a time zone has twice, when its clocks are set back, is the later one. One that it skips, when they are set
    forward, never was: it is null too.

    :param skipped: whether a time that its zone skips counts as one, moved on by what is skipped.
    """
    plain, written = storage.partition("(")[0], source.time_format

    def zoned(naive: str) -> str:
        if not source.time_zone:
            return f"CAST({naive} AS TIMESTAMPTZ)"
        zone = literal(source.time_zone)
        moment = f"timezone({zone}, {naive})"
        return moment if skipped else f"CASE WHEN timezone({zone}, {moment}) = {naive} THEN {moment} END"

    if written in EPOCHS and (plain == "VARCHAR" or plain in TYPES["number"]):
        return f"to_timestamp(TRY_CAST({value} AS DOUBLE) / {EPOCHS[str(written)]})"
    if plain in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"):
        return f"CAST({value} AS TIMESTAMPTZ)"
    if plain in TYPES["time"]:
        return zoned(f"CAST({value} AS TIMESTAMP)")
    if plain != "VARCHAR":
        return "CAST(NULL AS TIMESTAMPTZ)"
    if written is not None:
        parsed = f"try_strptime({value}, {literal(written)})"
        return f"CAST({parsed} AS TIMESTAMPTZ)" if "%z" in written or "%Z" in written else zoned(parsed)
    naive = f"CASE WHEN regexp_full_match({value}, {literal(rf'{DATE}([T ]{CLOCK})?')}) THEN TRY_CAST({value} AS TIMESTAMP) END"
    return (
        f"CASE WHEN regexp_full_match({value}, {literal(_ZONED)}) THEN TRY_CAST({value} AS TIMESTAMPTZ) "
        f"ELSE {zoned(naive)} END"
    )


def is_wall_clock(value: str, storage: str, source: Source) -> str:
    """SQL that is true of a time that is written without a zone, so that the source's zone says which moment it is."""
    plain, written = storage.partition("(")[0], source.time_format
    if plain in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS") or (written in EPOCHS and plain not in TYPES["time"]):
        return "FALSE"
    if plain != "VARCHAR":
        return "TRUE"
    if written is not None:
        return "FALSE" if "%z" in written or "%Z" in written else "TRUE"
    return f"NOT regexp_full_match({value}, {literal(_ZONED)})"


def earlier_twin(moment: str, zone: str) -> str:
    """SQL for the other moment of a wall-clock time that a zone has twice, given the later one; null where it has it once."""
    wall = f"timezone({literal(zone)}, {moment})"
    cases = " ".join(
        f"WHEN timezone({literal(zone)}, {moment} - INTERVAL {minutes} MINUTE) = {wall} THEN {moment} - INTERVAL {minutes} MINUTE"
        for minutes in _SET_BACK
    )
    return f"CASE {cases} END"


def is_repeated(moment: str, zone: str) -> str:
    """SQL that is true of a moment whose wall-clock time a zone has twice, of both of them."""
    wall = f"timezone({literal(zone)}, {moment})"
    others = (
        f"timezone({literal(zone)}, {moment} {sign} INTERVAL {minutes} MINUTE)"
        for minutes in _SET_BACK
        for sign in "+-"
    )
    return f"({wall} IN ({', '.join(others)}))"


def looks_ambiguous(value: str) -> str:
    """SQL that is true where day and month of a text cannot be told apart by its form."""
    return f"regexp_full_match({value}, {literal(_AMBIGUOUS)})"


def rounded(number: str) -> str:
    """SQL that is true of a text of a whole number that a float64 does not hold exactly, or that is not known to be."""
    return f"(regexp_full_match({number}, {literal(_LONG)}) AND abs(TRY_CAST({number} AS DOUBLE)) >= {EXACT})"


def _prints_back(text: str) -> str:
    """SQL that is true of most whole numbers, and far cheaper than a regular expression."""
    return f"(CAST(TRY_CAST({text} AS BIGINT) AS VARCHAR) = {text})"


def number_text(own: str, source: Source) -> str:
    # With a decimal comma a point is none: 1.234 may be a thousand and more.
    return f"translate(trim({own}), ',.', '.,')" if source.decimal == "," else f"trim({own})"


def listed(words: Collection[str]) -> str:
    return ", ".join(literal(word) for word in words)
