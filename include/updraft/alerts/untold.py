"""Alerts that the store could not take when they happened: kept in a file of this machine until whoever comes next.

``<home>/alerts/untold.jsonl`` holds one alert a line (mode 0600, folder 0700). A line is appended whole, under a lock
that is held for that moment only. Who records the lines first puts the file aside and locks it: a process that dies
with it in hand leaves it to the next one. Recording an event twice changes nothing, so a line may be read twice.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from updraft.alerts import outbox
from updraft.alerts.alert import Alert

FOLDER = "alerts"
FILE = "untold.jsonl"
REFUSED = "refused.jsonl"
"""Lines that are no alerts, or that the store will never take; a person may read them."""
_TAKEN = "taken-*.jsonl"
_LOCK = ".lock"

log = logging.getLogger(__name__)


def record_or_keep(engine: Callable[[], sa.Engine], home: Path, alert: Alert) -> None:
    """Record an alert; when the store does not take it, keep it for whoever comes next. Never raises.

    :param engine: opens the store, which may be away as well.
    :param home: the deployment's folder.
    """
    try:
        outbox.record(engine(), alert)
    except Exception:
        log.exception("%s: the store took no alert (%s); it is kept in %s", alert.project, alert.title, _file(home))
        try:
            keep(home, alert)
        except Exception:
            # The log is all that is left.
            log.exception("%s: an alert could not be kept either: %s; %s", alert.project, alert.summary(), alert.detail)


def keep(home: Path, alert: Alert, *, now: datetime | None = None) -> None:
    """Append an alert to the file.

    :raises OSError: when it cannot be written, such as on a full disk; what stood in the file stays whole.
    """
    line = json.dumps({"at": (now or datetime.now(UTC)).isoformat(), "alert": asdict(alert)})
    _append(home, FILE, [line])


def waiting(home: Path) -> int:
    """How many alerts are kept."""
    return sum(len(_lines(path)) for path in (_file(home), *(home / FOLDER).glob(_TAKEN)))


def record_kept(engine: sa.Engine, home: Path) -> tuple[str, ...]:
    """Record what is kept, each event as of its own time, and return the projects that it was about. Never raises.

    When the store is away again, the rest stays for the next one.
    """
    projects: dict[str, None] = {}
    try:
        for path in _taken(home):
            lines = _lines(path)
            left = _recorded(engine, home, lines, projects)
            if left:
                _append(home, FILE, left)
            path.unlink(missing_ok=True)
            if left:
                break
    except Exception:
        log.exception("alerts in %s could not be recorded; they stay there", home / FOLDER)
    return tuple(projects)


def _recorded(engine: sa.Engine, home: Path, lines: Sequence[str], projects: dict[str, None]) -> Sequence[str]:
    """Record lines in their order; what is left when the store is away."""
    for position, line in enumerate(lines):
        try:
            moment, alert = _read(line)
            outbox.record(engine, alert, now=moment)
        except (ValueError, TypeError, KeyError, AttributeError, sa.exc.DataError, sa.exc.IntegrityError):
            log.exception("a line of %s is no alert, or never will be; it stands in %s", _file(home), REFUSED)
            _append(home, REFUSED, [line])
        except Exception:
            log.exception("the store does not take the alerts of %s; they stay there", _file(home))
            return lines[position:]
        else:
            projects[alert.project] = None
    return ()


def _read(line: str) -> tuple[datetime, Alert]:
    kept: dict[str, Any] = json.loads(line)
    return datetime.fromisoformat(kept["at"]), Alert(**kept["alert"])


def _file(home: Path) -> Path:
    return home / FOLDER / FILE


def _lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [line for line in content.decode(errors="replace").split("\n") if line.strip()]


def _taken(home: Path) -> Iterator[Path]:
    """Files that nobody else reads, each locked while it is in hand: what was kept, and what a process left that died."""
    folder = home / FOLDER
    if not folder.is_dir():
        return
    if _file(home).exists():
        with _locked(folder):
            if _file(home).exists():
                _file(home).rename(folder / _TAKEN.replace("*", uuid.uuid4().hex))
    for path in sorted(folder.glob(_TAKEN)):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # another process is done with it
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        try:
            yield path
        finally:
            os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which gives the lock back, as does the end of the process


def _append(home: Path, name: str, lines: Sequence[str]) -> None:
    """Append whole lines, or nothing."""
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder):
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(folder / name, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # by a process that was killed as it wrote
            content = ("\n" * torn + "".join(f"{line}\n" for line in lines)).encode()
            try:
                if os.write(descriptor, content) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / name))
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
