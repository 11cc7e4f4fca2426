"""One source in project.yaml: where its rows come from, how they are read, and how they join the rows of a project."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from updraft.spec.part import Column, Duration, Part, shown_duration

EPOCHS = {"unix": 1, "unix_ms": 1000}
"""Values of ``time_format`` for times that are counted from 1970 on, and how many of their units are a second."""
TIMEOUT = timedelta(minutes=10)
"""That a source may take to give the rows of a partition, unless the project says otherwise."""


def _time_zone(value: object) -> object:
    try:
        ZoneInfo(str(value))
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("is no time zone; write the name of a place, such as Europe/Oslo, or UTC") from error
    return value


def _time_format(value: str) -> str:
    if value in EPOCHS or "%" in value:
        return value
    raise ValueError("write it as for strptime, such as %d/%m/%Y %H:%M, or unix, or unix_ms")


def _connection(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", value):
        return value
    raise ValueError("is no id of a connection: letters, digits, _, . and -; what it leads to stands in Airflow")


def _without(value: Any) -> bool:
    """Keys that are not stated are left out of what is hashed: a project keeps its hash when Updraft learns another key."""
    return not value


TimeFormat = Annotated[str, AfterValidator(_time_format)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
ConnectionId = Annotated[str, AfterValidator(_connection)]
SourceType = Literal["file", "sql", "http", "python"]
Aggregate = Literal["count", "sum", "mean", "last"]


class Pages(Part):
    """How an HTTP source is asked for the next page."""

    by: Literal["number", "offset", "cursor", "link"] = Field(
        description="number: the page's number; offset: the number of the first record; cursor: what the answer says; "
        "link: the address that the answer's Link header, or the path in next, gives"
    )
    param: str = Field(default="", description="name of the parameter with the number, the offset or the cursor")
    first: int = Field(default=1, ge=0, description="number of the first page")
    size: int | None = Field(default=None, ge=1, description="records of a page, where the server is asked for as many")
    size_param: str = Field(default="limit", description="name of the parameter with the size")
    next: str = Field(default="", description="path to the cursor, or to the next page's address, in the answer")


class AsOf(Part):
    """A join by the latest row at or before the event."""

    tolerance: Duration = Field(description="how old the row may be, such as 7d; an older one joins nothing")


class Source(Part):
    """One table that a partition is made of. The first source of a project is its row source; the others join it."""

    type: SourceType = Field(
        default="file", description="where the rows come from: files, a database, a web service, or sources.py"
    )
    url: str = Field(
        default="",
        description="of a file: fsspec URL of a CSV (zip, gz), Parquet or JSON lines (.jsonl) file; package://NAME/PATH reads a file of an "
        "installed package. {key} stands for the partition key, {date} for the day on which it begins; a star in the file's name for any "
        "text: all such files are read as one. Of http: the address, or its path below that of the connection",
    )
    connection: ConnectionId | None = Field(
        default=None,
        description="of sql, http and python: id of the Airflow connection with address and secrets",
        exclude_if=_without,
    )
    table: str | None = Field(
        default=None, description="of sql: a table or a view, such as shop.orders", exclude_if=_without
    )
    query: str | None = Field(
        default=None,
        description="of sql, instead of table: one SELECT; :from and :until stand for the partition's window",
        exclude_if=_without,
    )
    timeout: Duration | None = Field(
        default=None,
        description="of sql, http and python: how long the source may take for a partition; 10m unless it is stated",
        exclude_if=_without,
    )
    params: dict[str, str] = Field(
        default_factory=dict,
        description="of http: parameters of the address; {from} and {until} stand for the window as 2013-01-31T05:00:00Z, {from:unix}, "
        "{from:%Y-%m-%d} and the like for other forms, {key} for the partition key",
        exclude_if=_without,
    )
    records: str = Field(
        default="",
        description="of http: path to the list of records in an answer, such as data.items; empty: the answer is the list",
        exclude_if=_without,
    )
    pages: Pages | None = Field(
        default=None, description="of http: how the next page is asked for", exclude_if=_without
    )
    rate: float | None = Field(
        default=None, gt=0, le=1000, description="of http: requests in a second at most", exclude_if=_without
    )
    event_time: str | None = Field(
        default=None, description="column with the row's time (UTC); a source without one is a lookup table, read whole"
    )
    join: tuple[Column, ...] = Field(
        default=(), description="columns that join this source to the row source (left join)"
    )
    asof: AsOf | None = Field(
        default=None,
        description="join the latest row at or before the event, instead of rows of the same partition",
        exclude_if=_without,
    )
    aggregate: dict[Column, tuple[Aggregate, ...]] = Field(
        default_factory=dict,
        description="join what the rows before the event come to, by column: count, sum, mean, last",
        exclude_if=_without,
    )
    over: tuple[Duration, ...] = Field(
        default=(), description="of aggregate: how far back the rows count, such as [7d, 30d]", exclude_if=_without
    )
    columns: tuple[Column, ...] = Field(default=(), description="columns to keep; all when empty")
    time_format: TimeFormat | None = Field(
        default=None,
        description="how times are written that are not ISO 8601: as for strptime, such as %d/%m/%Y %H:%M, or unix, unix_ms",
    )
    time_zone: TimeZone | None = Field(
        default=None, description="of times that are written without one, such as Europe/Oslo; UTC when it is left out"
    )
    decimal: Literal[".", ","] = Field(default=".", description="the decimal sign of a CSV file's numbers")
    nulls: tuple[str, ...] = Field(
        default=(),
        description="words that stand for a missing text in a CSV file, such as NA; an empty field always does",
    )
    encoding: Literal["utf-8", "windows-1252", "latin-1", "utf-16"] = Field(
        default="utf-8", description="of a CSV file"
    )
    wait: Duration | None = Field(
        default=None,
        description="how long after its tick a partition's file may take before on-call is told that it is late, such as 6h; unless said "
        "otherwise a quarter of the time to the next tick, at most 1d. Late or not, a file is read when it comes, until the next tick. "
        "0s of a file of all time: its rows are there at the tick, so that a partition without any is empty",
    )

    @property
    def has_file_each(self) -> bool:
        """Whether each partition has a file of its own, and not all of them one content."""
        return self.type == "file" and ("{key}" in self.url or "{date" in self.url)

    @property
    def by_partition(self) -> bool:
        """Whether each partition is asked for by itself, so that what comes for one says nothing of another."""
        return self.has_file_each or self.type in ("http", "python")

    @property
    def place(self) -> str:
        """Where the rows come from, in words for people."""
        if self.type == "sql":
            return f"{self.table or 'query'} of connection {self.connection}"
        if self.type == "python":
            return "rows() of sources.py"
        return f"{self.url} of connection {self.connection}" if self.connection else self.url

    @property
    def join_in_words(self) -> str:
        """What the source adds to a row, in words for people."""
        on = ", ".join(self.join)
        if self.asof:
            return (
                f"by {on}: the latest row at or before the event, at most {shown_duration(self.asof.tolerance)} older"
            )
        if self.aggregate:
            what = ", ".join(
                f"{function} of {column}" for column, names in self.aggregate.items() for function in names
            )
            return f"by {on}: {what}, over {', '.join(map(shown_duration, self.over))} strictly before the event"
        return (
            f"by {on}: a row with the same values, of the same partition"
            if self.event_time
            else f"by {on}: a row with the same values"
        )

    @property
    def history(self) -> timedelta:
        """How far before a partition its rows can join rows of that partition."""
        return self.asof.tolerance if self.asof else max(self.over, default=timedelta(0))

    @property
    def time_limit(self) -> timedelta:
        """How long it may take to give the rows of a partition."""
        return TIMEOUT if self.timeout is None else self.timeout
