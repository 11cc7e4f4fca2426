"""A web service that gives JSON, page by page.

httpx and not dlt's REST client: of what dlt brings (its own state, schemas and destinations, and some twenty packages) a partition needs
none, as it asks for a window and keeps nothing between two. What is left are pages and tokens, and those are below.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from updraft import files
from updraft.connections import Connections
from updraft.data import limits
from updraft.data.readers.http_auth import TokenRefused, sign_in
from updraft.data.readers.json_lines import decoded, keep_columns, write_lines
from updraft.data.readers.reader import Window
from updraft.errors import DataError, SourceAway, SourceBehind, SourceMissing
from updraft.spec.source import EPOCHS, Source

_TRIES = 5
_PAUSE = 0.5
"""Seconds before a request is sent again; twice as many each time."""
_LONGEST_PAUSE = 60.0
"""Seconds that a server may ask to wait while a task stands by; what it asks beyond, the task waits without a worker."""
_ANSWER_SECONDS = 60.0
_ANSWER_BYTES = 256 * 2**20
_MOST_PAGES = 100_000
_PLACE = re.compile(r"\{(from|until|key)(?::([^}]*))?\}")


class HttpReader:
    """The records of a window, of every page.

    :param kept: columns that an empty window is given, so that it is a table.
    """

    def __init__(self, source: str, spec: Source, connections: Connections, *, kept: tuple[str, ...] = ()) -> None:
        self._source, self._spec, self._connections, self._kept = source, spec, connections, kept
        self._what = f"source {source}: {spec.place}"

    def revision(self, window: Window) -> str:
        """Of the first page alone: to ask for more again and again is no way to wait."""
        with _Asking(self._source, self._spec, self._connections) as asking:
            _, records, _ = asking.page(self._first(asking, window))
        if not records:
            self._unless_quiet(window)
        return files.canonical_hash([self._spec.place, records])

    def newest(self, start: datetime) -> None:
        """What a service has beyond a window, it is not asked."""

    def arrive(self, window: Window, folder: Path, *, glance: bool = False) -> Path:
        """Write the records of all pages as JSON lines."""
        path = folder / "arrived.jsonl"
        with _Asking(self._source, self._spec, self._connections) as asking:
            columns = write_lines(self._records(asking, window, glance=glance), path)
        if not columns:
            self._unless_quiet(window)
        keep_columns(path, columns or self._kept)
        return path

    def _unless_quiet(self, window: Window) -> None:
        """Nobody knows whether a window without a record is quiet or late, unless the source says so.

        :raises SourceBehind: where it is waited for.
        """
        if self._spec.wait != timedelta(0):
            raise SourceBehind(
                f"{self._what} has no record from {window.start.isoformat()} until {window.until.isoformat()} yet (a source that is often "
                "quiet for a whole partition says `wait: 0s`)",
                self._source,
            )

    def _first(self, asking: _Asking, window: Window) -> httpx.URL:
        parameters = {name: filled(value, window) for name, value in self._spec.params.items()}
        pages = self._spec.pages
        if pages and pages.size is not None:
            parameters[pages.size_param] = str(pages.size)
        if pages and pages.by in ("number", "offset"):
            parameters[pages.param] = str(pages.first if pages.by == "number" else 0)
        return asking.url(filled(self._spec.url, window)).copy_merge_params(parameters)

    def _records(self, asking: _Asking, window: Window, *, glance: bool) -> Iterator[tuple[str, Any]]:
        url: httpx.URL | None = self._first(asking, window)
        before, counted, number = "", 0, 0
        seen = set[str]()
        while url is not None:
            number += 1
            answer, records, next_link = asking.page(url)
            for place, record in enumerate(records, start=1):
                yield f"{self._what}: record {place} of page {number}", record
            counted += len(records)
            mark = files.canonical_hash(records) if records else ""
            if mark and mark == before:
                raise DataError(
                    f"{self._what} gives page {number} as page {number - 1} again: it does not know the parameter "
                    f"{self._spec.pages.param if self._spec.pages else ''!r} (data.sources.{self._source}.pages)"
                )
            if counted > limits.ROWS or number > _MOST_PAGES:
                raise DataError(f"{self._what} has more than {limits.ROWS:,} records or {_MOST_PAGES:,} pages")
            seen.add(str(url))
            url = None if glance else self._next(asking, url, answer, next_link, records=len(records), counted=counted)
            if url is not None and str(url) in seen:
                raise DataError(
                    f"{self._what}: after page {number} it leads back to an earlier page; its pages have no end"
                )
            before = mark

    def _next(
        self, asking: _Asking, url: httpx.URL, answer: Any, next_link: str, *, records: int, counted: int
    ) -> httpx.URL | None:
        """Where the next page is. A page with fewer records than before is not the last one: an empty one is."""
        pages = self._spec.pages
        if pages is None:
            return None
        if pages.by == "number":
            return url.copy_set_param(pages.param, int(url.params[pages.param]) + 1) if records else None
        if pages.by == "offset":
            return url.copy_set_param(pages.param, counted) if records else None
        told = _at(answer, pages.next) if pages.next else next_link
        if told is None or told == "" or told is False:
            return None
        if not isinstance(told, str):
            raise DataError(
                f"{self._what}: {pages.next} in an answer is no text (data.sources.{self._source}.pages.next)"
            )
        return url.copy_set_param(pages.param, told) if pages.by == "cursor" else asking.url(told, after=url)


def filled(text: str, window: Window) -> str:
    """A text with the window in the places of ``{from}``, ``{until}`` and ``{key}``."""

    def moment(match: re.Match[str]) -> str:
        if match[1] == "key":
            return window.key
        time_, form = window.start if match[1] == "from" else window.until, match[2]
        if form in EPOCHS:
            return str(int(time_.timestamp() * EPOCHS[form]))
        return time_.astimezone(UTC).strftime(form or "%Y-%m-%dT%H:%M:%SZ")

    return _PLACE.sub(moment, text)


def _at(answer: Any, path: str) -> Any:
    """What stands at a dotted path; None where there is nothing."""
    for part in path.split(".") if path else ():
        answer = answer.get(part) if isinstance(answer, dict) else None
    return answer


class _Asking:
    """Requests to one service, one after another, within the time that a source may take."""

    def __init__(self, source: str, spec: Source, connections: Connections) -> None:
        self._source, self._spec, self._what = source, spec, f"source {source}: {spec.place}"
        self._ends = time.monotonic() + spec.time_limit.total_seconds()
        self._last = 0.0
        connection = connections.get(spec.connection) if spec.connection else None
        self._base = ""
        if connection is not None and connection.host:
            host = connection.host
            if "://" not in host:
                scheme = connection.schema or ("https" if connection.kind == "https" else "http")
                host = f"{scheme}://{host}"
            self._base = f"{host.rstrip('/')}{f':{connection.port}' if connection.port else ''}/"
        headers = connection.extra.get("headers") if connection is not None else None
        self._client = httpx.Client(
            auth=sign_in(connection),
            timeout=min(_ANSWER_SECONDS, spec.time_limit.total_seconds()),
            headers={"Accept": "application/json", **(headers if isinstance(headers, Mapping) else {})},
        )

    def __enter__(self) -> _Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def url(self, told: str, *, after: httpx.URL | None = None) -> httpx.URL:
        """The address of a page, which is one of this service: to another server its secrets are not sent.

        :raises DataError: when it is none, or another server's.
        """
        try:
            base = httpx.URL(self._base) if self._base else after
            whole = told if "://" in told else self._base + told.lstrip("/")
            absolute = httpx.URL(whole) if after is None else after.join(told)
        except httpx.InvalidURL:
            raise DataError(f"{self._what}: {told[:200]!r} is no address") from None
        origin = (base.scheme, base.host, base.port) if base is not None else None
        if absolute.scheme not in ("http", "https") or not absolute.host:
            raise DataError(f"{self._what}: {told[:200]!r} is no address of a web service; the connection has no host")
        if origin is not None and (absolute.scheme, absolute.host, absolute.port) != origin:
            raise DataError(
                f"{self._what}: {absolute.host} is another server than {base.host if base else ''}, to which nothing is sent"
            )
        return absolute

    def page(self, url: httpx.URL) -> tuple[Any, list[Any], str]:
        """An answer, its records, and the address that its Link header gives for the next page (RFC 8288).

        :raises SourceMissing: when there is no such page.
        :raises SourceAway: when the service does not answer, or asks to come later.
        :raises DataError: when it refuses, or answers with what are no records.
        """
        content, link = self._answer(url)
        try:
            answer = decoded(content)
        except (ValueError, RecursionError):
            answer = _NO_JSON
        if answer is _NO_JSON:
            raise DataError(f"{self._what} answers with what is no JSON")
        told = _at(answer, self._spec.records)
        if told is None and (not self._spec.records or not _has(answer, self._spec.records)):
            keys = f"; it has {', '.join(map(repr, list(answer)[:20]))}" if isinstance(answer, dict) else ""
            raise DataError(
                f"{self._what}: an answer has nothing at {self._spec.records or 'its top'!r}, where its records should be "
                f"(data.sources.{self._source}.records){keys}"
            )
        if not isinstance(told, list | None):
            raise DataError(
                f"{self._what}: what stands at {self._spec.records or 'the top'!r} of an answer is no list of records "
                f"(data.sources.{self._source}.records)"
            )
        return answer, told or [], link

    def _answer(self, url: httpx.URL) -> tuple[bytes, str]:
        for attempt in range(1, _TRIES + 1):
            self._keep_to_rate()
            wait, why = _PAUSE * 2**attempt, ""
            try:
                with self._client.stream("GET", url) as response:
                    if response.is_success:
                        return self._read(response), response.links.get("next", {}).get("url", "")
                    status = response.status_code
                    if status in (404, 410):
                        raise SourceMissing(
                            f"{self._what}: there is nothing at {_shown(url)} (status {status})", self._source
                        )
                    if status < 500 and status not in (408, 425, 429):
                        raise DataError(f"{self._what} refuses with status {status}{_HINTS.get(status, '')}")
                    why = f"answers with status {status}"
                    wait = _asked_to_wait(response.headers.get("Retry-After")) or wait
            except TokenRefused as error:
                if error.status < 500:
                    raise DataError(
                        f"{self._what}: no token: {error}; check login and password of the connection"
                    ) from None
                why = str(error)
            except httpx.TransportError as error:
                why = f"does not answer: {type(error).__name__}"
            if attempt == _TRIES or wait > _LONGEST_PAUSE or time.monotonic() + wait > self._ends:
                raise SourceAway(f"{self._what} {why} (asked {attempt} times)", self._source)
            time.sleep(wait)
        raise SourceAway(f"{self._what} does not answer", self._source)

    def _read(self, response: httpx.Response) -> bytes:
        content = bytearray()
        for piece in response.iter_bytes():
            content += piece
            if len(content) > _ANSWER_BYTES:
                raise DataError(
                    f"{self._what}: an answer has more than {_ANSWER_BYTES // 2**20} MiB; ask for smaller pages"
                )
            if time.monotonic() > self._ends:
                raise SourceAway(
                    f"{self._what} did not give all records within {self._spec.time_limit.total_seconds():g} s "
                    f"(data.sources.{self._source}.timeout)",
                    self._source,
                )
        return bytes(content)

    def _keep_to_rate(self) -> None:
        if self._spec.rate:
            time.sleep(max(0.0, self._last + 1 / self._spec.rate - time.monotonic()))
        self._last = time.monotonic()


_NO_JSON = object()
_HINTS = {
    401: "; check the secret of its connection",
    403: "; let the connection's account read it",
    400: "; check params",
}


def _has(answer: Any, path: str) -> bool:
    """Whether the last part of a dotted path is there, as null."""
    above, _, last = path.rpartition(".")
    holder = _at(answer, above)
    return isinstance(holder, dict) and last in holder


def _shown(url: httpx.URL) -> str:
    """An address without its parameters, which may be secret."""
    return str(url.copy_with(query=None))


def _asked_to_wait(header: str | None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, section 10.2.3): a number, or a date."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return None
    return max(0.0, (moment - datetime.now(moment.tzinfo or UTC).replace(tzinfo=moment.tzinfo)).total_seconds())
