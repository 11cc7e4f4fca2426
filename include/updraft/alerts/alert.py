"""One alert: what is said about one event."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from updraft.spec.model import AlertKind

Kind = AlertKind | Literal["integrity", "summary"]
"""``integrity`` cannot be switched off: a tampered model is for everybody. ``summary`` sums up other alerts."""

ABOUT_ALERTS = frozenset({"resolved", "digest", "backlog"})
"""Entries of what is said about other alerts."""
ONCE = frozenset({"episode", "lasting_sign", "restarts", "training_ended"})
"""Entries whose event has a name of its own for ever: recorded again after it was mended, such as by a task that runs again, it is no other one."""
CHANGES_WHAT_SERVES = frozenset({"promotion", "rollback", "reinstated"})
"""Entries of what is posted although it needs nobody."""

KEY_LENGTH = 160  # of the store's columns
ENTRY_LENGTH = 63
PROJECT_LENGTH = 63
PARTITION_LENGTH = 32
TITLE_LENGTH = 300
TEXT_LENGTH = 10_000
"""A longer text is cut: nobody reads on, and an error may quote a whole file."""

# What databases, JSON, terminals or Slack refuse, or show as something else than it is: control characters but tab and
# line feed, halves of surrogate pairs (such as undecodable bytes leave behind), and what turns the direction of writing.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_LINE_ENDS = re.compile(r"\r\n?")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

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
    """One event, said once. All texts are plain: :mod:`updraft.alerts.blocks` escapes them for Slack.

    Whatever an error's text holds, every field fits the store's columns and is fit for a database, JSON and a terminal.
    """

    project: str
    kind: Kind
    dedup: str
    """Names the event within the project: recording the same one again changes nothing."""
    entry: str = ""
    """Of the runbook: what kind of event it is, or which task failed; empty in alerts of an earlier version."""
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
    """Different events of one fold (the same cause of the same partition again) share one message, which counts them."""
    incident: str | None = None
    """What goes wrong again and again until it is mended (a task, the refusals of a project): its messages share a thread."""
    part: str | None = None
    """Of the incident: the partition or the run that is mended by itself."""
    key: str | None = None
    """The partition that it is about."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Label to URL. What leads nowhere (no URL, or one without its host) is left out."""

    def __post_init__(self) -> None:
        fit: dict[str, object] = {"project": fitted_project(self.project), "title": cut(self.title, TITLE_LENGTH)}
        keys = ("dedup", "fold", "thread", "incident", "part")
        fit |= {name: fitted_key(text) for name in keys if (text := getattr(self, name))}
        fit["entry"] = cut(self.entry, ENTRY_LENGTH)
        fit |= {name: cut(getattr(self, name), TEXT_LENGTH) for name in ("text", "detail", "does", "needs")}
        fit["key"] = None if self.key is None else cut(self.key, PARTITION_LENGTH)
        fit["links"] = {cleaned(label): cleaned(url) for label, url in self.links.items() if "://" in url}
        for name, value in fit.items():
            object.__setattr__(self, name, value)

    @property
    def routine(self) -> bool:
        """Whether it can wait for the digest: it needs nobody and leaves what serves as it is."""
        return not (self.needs or self.kind == "integrity" or self.entry in ABOUT_ALERTS | CHANGES_WHAT_SERVES)

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


def cleaned(text: str) -> str:
    """The text with U+FFFD in place of what a database, JSON, a terminal or Slack does not take; line ends are ``\\n``."""
    return _UNFIT.sub(REPLACEMENT, _LINE_ENDS.sub("\n", text))


def cut(text: str, length: int) -> str:
    """The cleaned text, at most ``length`` characters; a longer one ends in an ellipsis."""
    clean = cleaned(text)
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def fitted_project(name: str) -> str:
    """A project's name as the store's column holds it: a folder may be named longer than a project."""
    return _fitted(name, PROJECT_LENGTH)


def fitted_key(key: str) -> str:
    """A key of an event, an incident or a part as the store's column holds it."""
    return _fitted(key, KEY_LENGTH)


def _fitted(key: str, length: int) -> str:
    """A key that fits the store's column; one that had to be changed for it keeps its head and is told apart by a hash."""
    clean = cleaned(key)
    if clean == key and len(key) <= length:
        return key
    return f"{clean[: length - 33]}:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
