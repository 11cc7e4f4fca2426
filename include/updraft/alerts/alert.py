"""One alert: what is said about one event."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from updraft.spec.model import AlertKind

Kind = AlertKind | Literal["integrity"]
"""``integrity`` cannot be switched off: a tampered model is for everybody."""

KEY_LENGTH = 160  # of the store's columns

# What must not reach a channel even when an error quotes it.
_SECRETS = (
    (re.compile(r"xox[a-z]-[\w-]+|xapp-[\w-]+"), "***"),  # Slack
    (re.compile(r"(://[^/\s:@]*:)[^@/\s]+(?=@)"), r"\1***"),  # a URL's password
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 ***"),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), "***"),  # AWS
    (re.compile(r"(?i)\b(password|passwd|secret|token|api_?key)(\s*[=:]\s*)[^\s,;&'\"]+"), r"\1\2***"),
)


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One event, said once. All texts are plain: :mod:`updraft.alerts.blocks` escapes them for Slack."""

    project: str
    kind: Kind
    dedup: str
    """Names the event within the project: recording the same one again changes nothing."""
    title: str
    text: str
    """What happened."""
    detail: str = ""
    """Evidence, set apart: an error, reasons."""
    does: str = ""
    """What Updraft does about it."""
    needs: str = ""
    """What is left for a person; empty when nothing is."""
    thread: str | None = None
    """Episode or release in whose thread it stands."""
    fold: str | None = None
    """Different events of one fold (the same task failing again) share one message, which counts them."""
    key: str | None = None
    """The partition that it is about."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Label to URL. What leads nowhere (no URL, or one without its host) is left out."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dedup", _fitted(self.dedup))
        object.__setattr__(self, "fold", None if self.fold is None else _fitted(self.fold))
        object.__setattr__(self, "thread", None if self.thread is None else _fitted(self.thread))
        object.__setattr__(self, "links", {label: url for label, url in self.links.items() if "://" in url})

    def summary(self) -> str:
        """One line for `updraft status`, logs and notifications."""
        partition = f" [{self.key}]" if self.key else ""
        return f"{self.title}{partition}: {one_line(self.text)}"


def redacted(text: str) -> str:
    """The text without what looks like a token, a password in a URL or a key."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def _fitted(key: str) -> str:
    """A key that fits the store's column; a longer one keeps its head and is told apart by a hash."""
    if len(key) <= KEY_LENGTH:
        return key
    return f"{key[: KEY_LENGTH - 33]}:{hashlib.sha256(key.encode()).hexdigest()[:32]}"
