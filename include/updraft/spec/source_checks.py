"""What the keys of a source ask of each other: which type takes which keys, and how each of them is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from updraft.spec.source import Source, SourceType

_KEYS: Mapping[SourceType, tuple[str, ...]] = {
    "file": ("url",),
    "sql": ("connection", "table", "query", "timeout"),
    "http": ("url", "connection", "params", "records", "pages", "rate", "timeout"),
    "python": ("connection", "timeout"),
}
"""Keys that say where rows come from, by the type that they belong to."""
_OF_FILES = ("decimal", "nulls", "encoding")
"""Keys that say how a file is written."""
_JOINING = ("asof", "aggregate", "over")
Complaint = tuple[str, str, Any]
"""A key of the source (or nothing, for the source itself), what is wrong with it, and its value."""


def complaints(source: Source, *, is_row_source: bool) -> Iterator[Complaint]:
    """What is wrong between the keys of a source, beside what its join and its event time ask of others."""
    yield from _of_type(source)
    if source.type == "sql":
        yield from _of_sql(source)
    elif source.type == "http":
        yield from _of_http(source)
    elif source.type == "file" and source.url:
        yield from _of_file(source.url)
    yield from _of_join(source, is_row_source=is_row_source)


def _of_type(source: Source) -> Iterator[Complaint]:
    own = _KEYS[source.type]
    needed = {"file": ("url",), "sql": ("connection",), "http": ("url",), "python": ()}[source.type]
    for key in needed:
        if not getattr(source, key):
            yield key, f"is missing: {Source.model_fields[key].description}", None
    for key in dict.fromkeys(key for keys in _KEYS.values() for key in keys):
        if key not in own and getattr(source, key):
            types = " or ".join(type_ for type_, keys in _KEYS.items() if key in keys)
            yield key, f"is a key of a source of type {types}; this one is of type {source.type}", getattr(source, key)
    if source.type in ("sql", "python"):
        for key in _OF_FILES:
            if getattr(source, key) != Source.model_fields[key].default:
                yield key, "says how a text file is written; these rows come with their types", getattr(source, key)


def _of_sql(source: Source) -> Iterator[Complaint]:
    if bool(source.table) == bool(source.query):
        yield "", "needs either table or query, of which it has " + ("both" if source.table else "none"), None
    if source.table and not re.fullmatch(r"[^.\s]+(\.[^.]+)?", source.table):
        yield "table", "is no name of a table; write it as TABLE or SCHEMA.TABLE, or write a query", source.table
    if source.query:
        bare = re.sub(r"'(?:[^']|'')*'", "''", source.query)
        if ";" in bare:
            yield "query", "has a semicolon; write one SELECT", source.query
        for name in sorted(set(re.findall(r"(?<![:\w\\]):(\w+)", source.query)) - {"from", "until"}):
            yield (
                "query",
                f"has a parameter :{name}; :from and :until stand for the window, and there is no other (write a colon as \\:)",
                source.query,
            )


def _of_http(source: Source) -> Iterator[Complaint]:
    for key, texts in (("url", [source.url]), ("params", source.params.values())):
        for text in texts:
            for placeholder in re.findall(r"\{[^}]*\}?", text):
                if not re.fullmatch(r"\{key\}|\{(from|until)(:[^}]*)?\}", placeholder):
                    yield key, f"has a placeholder {placeholder}; there are {{from}}, {{until}} and {{key}}", text
    if "://" in source.url and not source.url.startswith(("http://", "https://")):
        yield (
            "url",
            "is no address of a web service; it begins with https://, or is a path below the connection's",
            source.url,
        )
    if "://" not in source.url and source.url and not source.connection:
        yield "url", "is a path, which needs a connection that it is below; or write the whole address", source.url
    pages = source.pages
    if pages and pages.by != "link" and not pages.param:
        yield "pages", f"needs param, the name of the parameter with the {pages.by}", None
    if pages and pages.by == "cursor" and not pages.next:
        yield "pages", "needs next, the path to the next cursor in an answer", None


def _of_file(url: str) -> Iterator[Complaint]:
    if url.startswith("package://") and not re.fullmatch(r"package://[A-Za-z_]\w*/.+", url):
        yield "url", "must be package://NAME/PATH, a file of an installed package", url
    folder, _, file = url.rpartition("/")
    if "*" in folder or ("*" in file and url.startswith(("http://", "https://"))):
        where = (
            "in the name of a file, and not in that of a folder" if "*" in folder else "of files, not of a web server"
        )
        yield "url", f"has a star, which stands for any text {where}; name the folder", url
    for placeholder in re.findall(r"\{[^}]*\}?", url):
        if placeholder != "{key}" and not re.fullmatch(r"\{date(:[^}]+)?\}", placeholder):
            message = (
                f"has a placeholder {placeholder}; {{key}} stands for the partition key, {{date}} or {{date:%Y/%m/%d}} for the day on "
                "which it begins, and there is no other"
            )
            yield "url", message, url


def _of_join(source: Source, *, is_row_source: bool) -> Iterator[Complaint]:
    stated = [key for key in _JOINING if getattr(source, key)]
    if stated and is_row_source:
        yield stated[0], "says how a source joins the rows; this one gives them", None
        return
    if stated and source.event_time is None:
        yield stated[0], "joins by time, so the source needs event_time", None
    if source.asof and source.aggregate:
        yield "asof", "takes one row, and aggregate many; write a second source of the same rows for the other", None
    if bool(source.aggregate) != bool(source.over):
        yield (
            ("over", "is missing: how far back the rows count, such as [7d, 30d]", None)
            if source.aggregate
            else (
                "over",
                "needs aggregate, what the rows come to, such as {amount: [sum, mean]}",
                None,
            )
        )
    for key in ("over",) if any(not duration for duration in source.over) else ():
        yield key, "has a window of no length", None
    if source.asof and not source.asof.tolerance:
        yield "asof", "has a tolerance of no length", None
    for column, functions in source.aggregate.items():
        if not functions or len(set(functions)) != len(functions):
            yield "aggregate", f"says of {column} no function, or one twice", None
