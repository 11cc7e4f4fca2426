"""What Airflow knows of Slack, for a command line on the same machine: Airflow keeps the connection, and a command cannot ask it."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

FILE = "alerts/slack.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What Airflow found when it looked last."""

    connected: bool
    """Whether there is a connection with a token."""
    at: datetime

    @property
    def words(self) -> str:
        """One line for a person."""
        if self.connected:
            return f"Airflow has a Slack connection (seen {self.at:%Y-%m-%d %H:%M} UTC); what waits goes out with its next task"
        return f"Airflow had no Slack connection at {self.at:%Y-%m-%d %H:%M} UTC: give it the connection `slack_api_default`"


def note(home: Path, *, connected: bool, now: datetime | None = None) -> None:
    """Write down whether there is a connection. Never raises: it is told in the log when it cannot be written.

    :param home: the deployment's folder.
    """
    path = home / FILE
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside.write_text(json.dumps({"connected": connected, "at": (now or datetime.now(UTC)).isoformat()}))
        aside.replace(path)
    except OSError:
        log.exception("what Airflow knows of Slack could not be written to %s", path)


def read(home: Path) -> Known | None:
    """What was noted last; None when nothing was, or it does not read."""
    try:
        noted = json.loads((home / FILE).read_text())
        return Known(bool(noted["connected"]), datetime.fromisoformat(noted["at"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        log.warning("%s does not read; Airflow writes it anew", home / FILE)
        return None
