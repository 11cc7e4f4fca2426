"""Which column says when a row happened, and how its times are written. Day and month are never guessed."""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from updraft.data.catalogue import TYPES
from updraft.data.cells import NULLS, listed, time_of
from updraft.data.duck import first, literal, name
from updraft.draft.question import Question, Settle
from updraft.draft.table import Written
from updraft.draft.words import AFTERWARDS_WORDS, BIRTH_WORDS, EVENT_TIMES, OUTCOME_WORDS, TIME_WORDS, has_word
from updraft.errors import InputError
from updraft.spec.problems import did_you_mean
from updraft.spec.source import EPOCHS, Source

_DATES = ("%d.%m.%Y", "%m.%d.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y",
          "%Y.%m.%d", "%Y%m%d", "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y")  # fmt: skip
_CLOCKS = (
    "",
    " %H:%M",
    " %H:%M:%S",
    " %H:%M:%S.%f",
    " %I:%M %p",
    " %I:%M:%S %p",
    ", %H:%M",
    ", %H:%M:%S",
    "T%H:%M:%S",
    "T%H%M%S",
)
FORMATS = tuple(f"{date}{clock}" for date in _DATES for clock in _CLOCKS)
"""How times are written that are not ISO 8601."""
_FIRST_YEAR, _LAST_YEAR = 1900, 2100
_FIRST_EPOCH = 1980
"""Year before which a number is no count of seconds: read as milliseconds, today's seconds are in January of 1970."""
_SMALLEST_EPOCH, _LARGEST_EPOCH = 1e8, 1e14
_GLANCE = 200
_COMPLETE = 0.9
"""Share of rows with a time from which a column is worth naming."""


@dataclass(frozen=True)
class TimeColumn:
    """A column that may be of times."""

    name: str
    formats: tuple[str | None, ...]
    """How every time in it may be written; None for ISO 8601, or a type of its own."""
    missing: int
    """Rows without a time."""
    wrong: int = 0
    """Rows whose cell is no time, of a column of times."""


def time_columns(written: Written, stated: str | None = None) -> list[TimeColumn]:
    """Every column whose cells read as times, in the order of the file.

    :param stated: a format that somebody said.
    """
    candidates = []
    for column, kind in written.kinds.items():
        stored = written.stored[column].partition("(")[0]
        formats: tuple[str | None, ...] = ()
        if stored in TYPES["time"]:
            formats = (None,)
        elif stated is not None and _may_be(stored, stated) and not _reads(written, column, stated):
            formats = (stated,)
        elif kind is not None and kind[0] == "time":
            formats = (None,)
        elif stated is not None:
            formats = ()
        elif stored == "VARCHAR" and kind is not None:
            formats = _formats_of(written, column, is_number=kind[0] == "number")
        elif stored in TYPES["number"] and has_word(column, TIME_WORDS):
            formats = _epochs(written, column)
        if formats:
            present = _present(written, column)
            (missing,) = first(written.con, f"SELECT count(*) FILTER (NOT ({present})) FROM written")
            candidates.append(TimeColumn(column, formats, int(missing), _reads(written, column, formats[0])))
    return candidates


def _may_be(stored: str, time_format: str) -> bool:
    return stored == "VARCHAR" or (time_format in EPOCHS and stored in TYPES["number"])


def choose(
    written: Written,
    columns: Sequence[TimeColumn],
    settle: Settle,
    *,
    column: str | None,
    time_format: str | None,
    time_zone: str | None,
) -> tuple[Source, str]:
    """The source with its event time, and on what the choice rests.

    :param columns: as :func:`time_columns` tells them.
    :param column: what somebody said, as the two after it.
    :raises InputError: when no column, or no format, can be told.
    """
    if time_format is not None:  # whatever else may be a time, the event time is written so
        columns = [
            candidate for candidate in columns if time_format in candidate.formats or _is_typed(written, candidate.name)
        ]
    if column is not None:
        chosen, why = _named(written, columns, column, time_format), "as you said"
    else:
        chosen, why = _guessed(written, columns, settle)
    if time_format is None and len(chosen.formats) > 1:
        formats = [form for form in chosen.formats if form is not None]
        time_format = settle(
            Question(
                "--time-format",
                f"How are the times of {chosen.name!r} written?",
                None,
                False,
                "Every one of them reads with the day first and with the month first, and which is meant is not guessed",
                tuple(formats),
            )
        )
        if time_format not in formats:
            raise InputError(f"--time-format {time_format!r}: the times of {chosen.name!r} are not written so")
    else:
        time_format = chosen.formats[0]
    if chosen.wrong:
        raise InputError(
            f"{chosen.name!r} is no time in {chosen.wrong:,} of {written.rows:,} rows, and a row without one is in no partition; mend them, "
            "or say how times are written with --time-format"
        )
    told = {"event_time": chosen.name, "time_format": time_format, "time_zone": time_zone}
    try:
        return Source.model_validate({**written.source.model_dump(), **told}), why
    except ValidationError as error:
        [wrong, *_] = error.errors()
        raise InputError(
            f"--{str(wrong['loc'][0]).replace('_', '-')} {wrong['input']!r}: {wrong['ctx']['error']}"
        ) from None


def _is_typed(written: Written, column: str) -> bool:
    """Whether the files themselves say that a column is of times."""
    return written.stored[column].partition("(")[0] in TYPES["time"]


def _named(written: Written, columns: Sequence[TimeColumn], column: str, time_format: str | None) -> TimeColumn:
    if column not in written.stored:
        raise InputError(
            f"--time {column!r} is no column{did_you_mean(column, written.stored)}; there are {', '.join(written.stored)}"
        )
    chosen = next((candidate for candidate in columns if candidate.name == column), None)
    if chosen is not None:
        return chosen
    if written.stored[column].partition("(")[0] in (*TYPES["number"], "VARCHAR") and time_format is None:
        epochs = _epochs(written, column)
        if len(epochs) == 1:
            return TimeColumn(column, epochs, 0)
    said = f" as --time-format {time_format!r} says" if time_format else ""
    raise InputError(
        f"--time {column!r} does not read as a time{said} in every row that has one; say how its times are written with --time-format, as for "
        'strptime, such as "%d/%m/%Y %H:%M", or unix, or unix_ms'
    )


def _guessed(written: Written, columns: Sequence[TimeColumn], settle: Settle) -> tuple[TimeColumn, str]:
    whole = [
        candidate
        for candidate in columns
        if not candidate.missing and not candidate.wrong and not has_word(candidate.name, BIRTH_WORDS)
    ]
    named = [candidate for candidate in whole if candidate.name.lower() in EVENT_TIMES]
    before = [
        candidate for candidate in whole if not has_word(candidate.name, AFTERWARDS_WORDS | OUTCOME_WORDS)
    ] or whole
    if len(whole) == 1:
        return whole[0], "the only column that reads as a time in every row"
    if len(named) == 1:
        return named[0], "by its name; it reads as a time in every row"
    if not whole:
        raise InputError(_no_time(written, columns))
    question = Question(
        "--time",
        "Which column says when a row happened, the moment at which its prediction is made?",
        before[0].name if len(before) == 1 else _earliest(written, before),
        False,
        "Several columns are times",
        tuple(candidate.name for candidate in whole),
    )
    answer = settle(question)
    chosen = next((candidate for candidate in columns if candidate.name == answer), None)
    if chosen is None:
        raise InputError(f"--time {answer!r} is none of the columns that are times: {', '.join(question.choices)}")
    return chosen, "by its name and its place before the other times"


def _no_time(written: Written, columns: Sequence[TimeColumn]) -> str:
    begin = f"no column of {written.source.url} reads as a time in every row, and Updraft learns along time: it needs the moment of each row"
    some = [
        f"{candidate.name!r} is no time in {candidate.missing + candidate.wrong:,} of {written.rows:,} rows"
        for candidate in columns
        if not has_word(candidate.name, BIRTH_WORDS)
        and candidate.missing + candidate.wrong < (1 - _COMPLETE) * written.rows
    ]
    if some:
        return f"{begin}. {'; '.join(some)}: leave those rows out, or say --time all the same, and they are in no partition"
    return (
        f"{begin}. Add a column with it, such as when the order was placed or the customer was looked at, written as 2024-01-31T05:00:00Z; "
        'or say how it is written with --time COLUMN --time-format "%d/%m/%Y"'
    )


def _earliest(written: Written, columns: Sequence[TimeColumn]) -> str:
    """The column that is before the others in most rows, in the mean."""
    means = []
    for column in columns:
        (mean,) = first(
            written.con, f"SELECT avg(epoch({_as_time(written, column.name, column.formats[0])})) FROM written"
        )
        means.append((float(mean), column.name))
    return min(means)[1]


def _as_time(written: Written, column: str, time_format: str | None) -> str:
    stored = written.stored[column]
    value = f"trim({name(column)})" if stored == "VARCHAR" else name(column)
    return time_of(value, stored, written.source.model_copy(update={"time_format": time_format}))


def _present(written: Written, column: str) -> str:
    own = name(column)
    if written.stored[column] != "VARCHAR":
        return f"{own} IS NOT NULL"
    return f"({own} IS NOT NULL AND trim({own}) NOT IN ({listed((*NULLS, *written.source.nulls))}))"


def _reads(written: Written, column: str, time_format: str | None) -> int:
    """Cells that hold something which is no time in a format."""
    (wrong,) = first(
        written.con,
        f"SELECT count(*) FILTER ({_present(written, column)} AND ({_as_time(written, column, time_format)}) IS NULL) FROM written",
    )
    return int(wrong)


def _formats_of(written: Written, column: str, *, is_number: bool) -> tuple[str | None, ...]:
    """The formats in which every cell of a text column is a time of this age."""
    if is_number and not has_word(column, TIME_WORDS):
        return ()
    if is_number and (epochs := _epochs(written, column)):
        return epochs
    glance = f"SELECT {name(column)} AS t FROM written WHERE {_present(written, column)} LIMIT {_GLANCE}"
    counts = ", ".join(f"count(try_strptime(trim(t), {literal(form)}))" for form in FORMATS)
    present, *read = first(written.con, f"SELECT count(*), {counts} FROM ({glance})")
    likely = [form for form, count in zip(FORMATS, read, strict=True) if present and count == present]
    if is_number:
        likely = [form for form in likely if form == "%Y%m%d"]
    return _that_read(written, column, likely)


def _that_read(
    written: Written, column: str, formats: Sequence[str], *, since: int = _FIRST_YEAR
) -> tuple[str | None, ...]:
    read: list[str | None] = []
    for time_format in formats:
        moment = _as_time(written, column, time_format)
        wrong, earliest, latest = first(
            written.con,
            f"SELECT count(*) FILTER ({_present(written, column)} AND ({moment}) IS NULL), min(year({moment})), max(year({moment})) FROM written",
        )
        if not wrong and earliest is not None and earliest >= since and latest <= _LAST_YEAR:
            read.append(time_format)
    return tuple(read)


def _epochs(written: Written, column: str) -> tuple[str | None, ...]:
    own = f"abs(TRY_CAST({name(column)} AS DOUBLE))"
    smallest, largest = first(written.con, f"SELECT min({own}), max({own}) FROM written")
    if smallest is None or not _SMALLEST_EPOCH < smallest <= largest < _LARGEST_EPOCH:
        return ()
    return _that_read(written, column, tuple(EPOCHS), since=_FIRST_EPOCH)
