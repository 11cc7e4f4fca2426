"""What a person is told who is asked whether a version may serve: in Markdown, all that the answer depends on."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from updraft.alerts.alert import one_line
from updraft.alerts.words import moment
from updraft.loop.context import Loop
from updraft.loop.decision_words import gates_in_words
from updraft.loop.evidence import gains
from updraft.loop.version_history import started_by
from updraft.release.states import Policy
from updraft.release.verdict import Judgement, judge_change, why_unbounded
from updraft.store.records import ReleaseRow, TrainingRow

_SLICES = 6
"""Guarded slices that are shown, those with the least gain first."""
_MARKS = re.compile(r"([\\`*_{}\[\]()<>#|~!])")
"""What Markdown reads as more than text: a reason is a person's, the value of a slice a feed's."""


@dataclass(frozen=True)
class ApprovalQuestion:
    """A question to a person, as Airflow shows it."""

    subject: str
    body: str
    """Markdown."""


def approval_question(
    loop: Loop, release: str, now: datetime, until: datetime, links: Mapping[str, str]
) -> ApprovalQuestion:
    """Ask whether a release may be promoted.

    :param now: of the clock: Airflow keeps a question as it was first asked until it is answered.
    :param until: the moment at which it is rejected without an answer.
    :param links: where there is more to see, by what is seen there.
    """
    row, serving = loop.store.release(release), loop.store.serving(loop.name)
    facts = [(what, _plain(words)) for what, words in release_facts(loop, row, serving.champion, serving.since, until)]
    table = [f"| As of {moment(now)} | |", "|---|---|", *(f"| **{what}** | {words} |" for what, words in facts)]
    stays = f"version {serving.champion} serves on" if serving.champion else "nothing serves"
    answers = (
        f"**Approve**: version {row.version} serves from the next partition on"
        + (
            f", and version {serving.champion} stays at hand (`updraft rollback {loop.name}`)"
            if serving.champion
            else ""
        )
        + f". **Reject**: the release is closed, and {stays}."
    )
    seen = " · ".join(f"[{what}]({url})" for what, url in links.items() if url.startswith(("http://", "https://")))
    instead = f" in place of version {serving.champion}" if serving.champion else ""
    return ApprovalQuestion(
        f"{loop.name}: may version {row.version} serve{instead}?",
        "\n\n".join(filter(None, ["\n".join(table), answers, seen])),
    )


def release_facts(
    loop: Loop, row: ReleaseRow, champion: str | None, since: str | None, until: datetime | None
) -> Iterator[tuple[str, str]]:
    """All that an answer depends on, by its heading.

    :param until: the moment until which a person may answer; None where nobody is asked.
    """
    training = loop.store.training_of(loop.name, row.version)
    yield "Serves now", f"version {champion}, since {since}" if champion else "nothing: it would be the first model"
    yield "Why it is asked", row.reason or f"lane {row.lane}, opened at {row.opened_at}"
    if row.lane == "change":
        evidence = gains(loop, row.id)
        judgement = judge_change(evidence, loop.spec.release, Policy.of(loop.spec).guard)
        yield from _evidence(loop, judgement)
        earlier = Counter(cluster.against for cluster in evidence if cluster.against not in (champion, None))
        if earlier:
            held = ", ".join(f"{number} with version {version}" for version, number in earlier.items())
            yield (
                "Mind",
                f"of {len(evidence)} clusters {sum(earlier.values())} compare with what does not serve any more: {held}",
            )
        if row.continues:
            versions = ", ".join(row.continues)
            yield (
                "Same recipe",
                f"its evidence since {row.counted_from} is that of version {versions} too, which it goes on from",
            )
    elif row.against is not None and champion not in (row.against, row.version):
        yield "Mind", f"it was compared with version {row.against}, which does not serve any more"
    if training is not None:
        yield "Gates on the holdout", gates_in_words(training.result.get("gates") or {})
        before = loop.store.training_of(loop.name, champion) if champion else None
        yield "What changed", "; ".join(_changes(loop, training, before)) if before else "everything: it is the first"
        yield "Trained", f"at {training.key}, started by {started_by(loop, training)}"
    if until is not None:
        yield "Answer until", f"{moment(until)}; without an answer it is rejected"


def _evidence(loop: Loop, judgement: Judgement) -> Iterator[tuple[str, str]]:
    policy, bound = loop.spec.release, judgement.bound
    if not bound.clusters:
        yield "Gain", "no rows with known labels to compare yet"
        return
    over = f"over {bound.clusters} {policy.cluster if policy.cluster in ('day', 'week', 'hour') else 'cluster'}s"
    mean = f"{bound.mean:+.4f} {policy.metric} on the mean, {over}; more is better"
    if math.isfinite(bound.lower):
        yield "Gain", f"{mean}. Between {bound.lower:+.4f} and {bound.upper:+.4f}, each end at {policy.confidence:.0%}"
    else:
        yield "Gain", f"{mean}. No band yet: {why_unbounded(bound.clusters)}"
    yield "To be passed", f"{0.0 - policy.margin:g}, by the lower end (release.margin: {policy.margin:g})"
    worst = sorted(judgement.slices.items(), key=lambda named: named[1].bound.mean)
    told = [
        f"{name} {slice_verdict.bound.mean:+.4f}{' (shown worse)' if slice_verdict.shown_inferior else ''}"
        for name, slice_verdict in worst[:_SLICES]
    ]
    if loop.spec.gates.slices is not None:
        more = [f"and {len(worst) - _SLICES} with more"] if len(worst) > _SLICES else []
        yield "Slices, least gain first", ", ".join([*told, *more]) or "none has enough clusters yet"


def _changes(loop: Loop, training: TrainingRow, before: TrainingRow) -> Sequence[str]:
    """What differs in how two versions were made."""
    new, old = (dict(row.result.get("trainer") or {}) for row in (training, before))
    told = [f"trainer: {old.get('name')} → {new.get('name')}"] if old.get("name") != new.get("name") else []
    now, then = (dict(trainer.get("params") or {}) for trainer in (new, old))
    told += [
        f"{name}: {then.get(name, 'default')} → {now.get(name, 'default')}"
        for name in sorted({*now, *then})
        if now.get(name) != then.get(name)
    ]
    requests: list[dict[str, Any]] = [
        loop.store.run_record(loop.name, row.id, "request") or {} for row in (training, before)
    ]
    if requests[0].get("features_sha256") != requests[1].get("features_sha256"):
        told.append("features.py")
    if not told and training.result.get("recipe_sha256") != before.result.get("recipe_sha256"):
        told.append("another part of the recipe, such as the label, the seed or a library")
    return told or ["the data alone: the same recipe, learnt from newer partitions"]


def _plain(words: str) -> str:
    """Text of others as one line that Markdown shows as it is."""
    return _MARKS.sub(r"\\\1", one_line(words))
