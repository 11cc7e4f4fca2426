"""What on-call hears of the loop: each event becomes one alert in the outbox. Recording the same one again changes nothing.

Telling never fails whoever tells. What goes wrong stands in the log; an alert that the store does not take is kept
(:mod:`updraft.alerts.untold`), and of an event that cannot be told in full it is told that it happened.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from updraft.alerts import messages, pod_messages, untold
from updraft.alerts.alert import Alert
from updraft.data.ingest import read_checks
from updraft.loop.context import Loop
from updraft.loop.words import gates_in_words
from updraft.store.records import Decision, EpisodeRow, IngestedPartition, ReleaseRow

log = logging.getLogger(__name__)
_P = ParamSpec("_P")


def _record(loop: Loop, alert: Alert) -> None:
    untold.record_or_keep(lambda: loop.store.engine, loop.settings.home, alert)


def _never_fails(tell: Callable[Concatenate[Loop, _P], None]) -> Callable[Concatenate[Loop, _P], None]:
    """Log what goes wrong in telling, and tell at least that the event happened. The first argument names its subject."""

    @wraps(tell)
    def telling(loop: Loop, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            tell(loop, *args, **kwargs)
        except Exception as error:
            what = tell.__name__.replace("_", " ")
            log.exception("%s: %s could not be told in full", loop.name, what)
            subject = next(iter((*args, *kwargs.values())), "")
            name = subject if isinstance(subject, str) else getattr(subject, "id", None) or getattr(subject, "key", "")
            _record(loop, messages.untold(loop.name, what=what, subject=str(name), error=type(error).__name__))

    return telling


def docs_url(loop: Loop, key: str) -> str:
    """Where the data docs of a partition are."""
    base = loop.settings.airflow
    return f"{base}/updraft/files/{loop.name}/docs/{key}/index.html" if base else loop.url("docs", key, "index.html")


def dag_url(loop: Loop, stage: str, run: str | None = None) -> str:
    """A page of the Airflow UI."""
    base = f"{loop.settings.airflow}/dags/{loop.name}.{stage}"
    return f"{base}/runs/{run}" if run else base


def version_url(loop: Loop, version: str) -> str:
    """A model version's page in MLflow."""
    return f"{loop.settings.mlflow}/#/models/{loop.name}/versions/{version}"


def _reasons(checks: dict[str, Any]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for name, source in checks.get("sources", {}).items():
        counted.update({f"{name}: {reason}": int(count) for reason, count in source["reasons"].items()})
    return dict(counted)


@_never_fails
def rows_quarantined(loop: Loop, row: IngestedPartition) -> None:
    """Rows of a published partition were set aside."""
    total = sum(int(source["rows"]) for source in row.checks.get("sources", {}).values())
    _record(
        loop,
        messages.quarantine(
            loop.name,
            key=row.key,
            rows=row.quarantined,
            of=total,
            reasons=_reasons(row.checks),
            content=row.sha256 or "",
            docs=docs_url(loop, row.key),
        ),
    )


@_never_fails
def partition_refused(loop: Loop, key: str) -> None:
    """A partition was refused as a whole, as its checks say."""
    checks = read_checks(loop.project, loop.settings, key)
    reasons = {**_reasons(checks.to_dict()), **dict.fromkeys(checks.refusals, 0)}
    _record(
        loop,
        messages.refused(
            loop.name,
            key=checks.key,
            rows=checks.quarantined,
            of=sum(source.rows for source in checks.sources.values()),
            limit=loop.spec.data.refuse_above,
            reasons=reasons,
            docs=docs_url(loop, checks.key),
        ),
    )


@_never_fails
def episode_opened(loop: Loop, row: EpisodeRow) -> None:
    """An episode was opened."""
    _record(
        loop,
        messages.episode(
            loop.name,
            episode=row.id,
            key=row.opened_at,
            cause=row.cause,
            remedy=row.remedy,
            diagnosis=str(row.diagnosis.get("words", "")),
            links={"Monitor": dag_url(loop, "monitor")},
        ),
    )


@_never_fails
def trained(loop: Loop, run: str, version: str, gates: dict[str, Any]) -> None:
    """A training passed its gates, or did not."""
    row = loop.store.training(loop.name, run)
    key, thread = (row.key, row.episode) if row else ("", None)
    links = {"Model version": version_url(loop, version), "Training run": dag_url(loop, "train", run)}
    if gates["passed"]:
        alert = messages.trained(
            loop.name,
            run=run,
            key=key,
            version=version,
            summary=gates_in_words(gates).capitalize(),
            thread=thread,
            links=links,
        )
    else:
        alert = messages.refused_model(
            loop.name, run=run, key=key, reasons=list(gates["reasons"]), version=version, thread=thread, links=links
        )
    _record(loop, alert)


def _thread(loop: Loop, release: ReleaseRow) -> str | None:
    return next((row.episode for row in loop.store.trainings(loop.name) if row.version == release.version), None)


def _promoted(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(decision.subject)
    _record(
        loop,
        messages.promotion(
            loop.name,
            release=row.id,
            lane=row.lane,
            version=row.version,
            previous=decision.body["previous"],
            key=decision.key,
            reason=str(decision.body["reason"]),
            probation=loop.spec.release.refresh.probation if row.lane == "refresh" else 0,
            thread=_thread(loop, row),
            links={"Model version": version_url(loop, row.version)},
        ),
    )


@_never_fails
def of_release(loop: Loop, release: str) -> None:
    """Everything that was decided about a release, from the chain: what a killed task had written and not told is told by the next one."""
    for decision in loop.store.decisions(loop.name, kinds=("verdict", "promote", "roll_back", "unscorable")):
        if decision.subject == release:
            _TOLD[decision.kind](loop, decision)


def _verdict(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(decision.subject)
    bound = decision.body["evidence"].get("bound") or {}
    _record(
        loop,
        messages.verdict(
            loop.name,
            release=row.id,
            version=row.version,
            against=row.against or "none",
            key=decision.key,
            verdict=decision.body["verdict"],
            reason=str(decision.body["reason"]),
            clusters=int(bound.get("clusters") or 0),
            gain=float(bound.get("mean") or 0.0),
            low=float(bound["lower"]) if bound.get("lower") is not None else float("-inf"),
            high=float(bound["upper"]) if bound.get("upper") is not None else float("inf"),
            thread=_thread(loop, row),
            links={"Release": dag_url(loop, "release")},
        ),
    )


@_never_fails
def approval_wanted(loop: Loop, release: str, link: str) -> None:
    """A person has to answer."""
    row = loop.store.release(release)
    hours = int(loop.spec.release.change.approval_timeout.total_seconds() // 3600)
    _record(
        loop,
        messages.approval(
            loop.name,
            release=release,
            version=row.version,
            reason=row.reason or "",
            until=f"after {hours} hours",
            link=link,
            thread=_thread(loop, row),
        ),
    )


def _rolled_back(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(decision.subject)
    _record(
        loop,
        messages.rollback(
            loop.name,
            release=row.id,
            version=row.version,
            to=str(decision.body["version"]),
            key=decision.key,
            reason=str(decision.body["reason"]),
            by=decision.body.get("by"),
            thread=_thread(loop, row),
        ),
    )


_TOLD = {"verdict": _verdict, "unscorable": _verdict, "promote": _promoted, "roll_back": _rolled_back}
"""How a decision of a release is told, by kind."""


@_never_fails
def tampered(loop: Loop, what: str, where: str, error: str) -> None:
    """Something signed is not what it was."""
    _record(loop, messages.tampered(loop.name, what=what, where=where, error=error))


@_never_fails
def no_node(loop: Loop, run: str, link: str, waits: str, does: str, limit: str) -> None:
    """A training's pod found no node within its limit."""
    _record(loop, pod_messages.no_node(loop.name, run=run, waits=waits, does=does, limit=limit, link=link))


@_never_fails
def more_memory(loop: Loop, run: str, link: str, words: str) -> None:
    """A training was killed for memory and gets more."""
    _record(loop, pod_messages.more_memory(loop.name, run=run, words=words, link=link))
