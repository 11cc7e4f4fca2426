"""Whom an alert of the whole deployment concerns."""

from __future__ import annotations

from collections.abc import Iterable

from updraft.spec.model import ProjectSpec


def one_per_channel(specs: Iterable[ProjectSpec]) -> list[ProjectSpec]:
    """For each channel that projects name, the first of its projects: what concerns them all is told once in each."""
    first: dict[str, ProjectSpec] = {}
    for spec in specs:
        if spec.alerts.slack is not None:
            first.setdefault(spec.alerts.slack.channel, spec)
    return list(first.values())
