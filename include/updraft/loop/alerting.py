"""What on-call hears of the loop: each event becomes one alert in the outbox. Recording the same one again changes nothing.

Telling never fails whoever tells. What goes wrong stands in the log; an alert that the store does not take is kept
(:mod:`updraft.alerts.untold`), and of an event that cannot be told in full it is told that it happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from updraft.alerts import messages
from updraft.data.checks import LabelCounts
from updraft.data.ingest import read_checks
from updraft.loop.context import Loop
from updraft.loop.decision_words import gates_in_words
from updraft.loop.telling import never_fails, record
from updraft.pods.attempts import WithoutNode
from updraft.store.records import Decision, EpisodeRow, IngestedPartition, ReleaseRow


def docs_url(loop: Loop, key: str) -> str:
    """Where the data docs of a partition are."""
    base = loop.settings.airflow
    return f"{base}/updraft/files/{loop.name}/docs/{key}/index.html" if base else loop.lake.docs(key)


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


@never_fails
def rows_quarantined(loop: Loop, row: IngestedPartition) -> None:
    """Rows of a published partition were set aside."""
    total = sum(int(source["rows"]) for source in row.checks.get("sources", {}).values())
    record(
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


@never_fails
def rows_outside(loop: Loop, row: IngestedPartition, before: IngestedPartition | None) -> None:
    """Rows of the partition's own file lie outside of it: told when it is a share that matters, and far more than the last time.

    :param before: the partition published before.
    """
    for source, checks in row.checks.get("sources", {}).items():
        share, of = _outside_share(checks)
        usual, _ = _outside_share((before.checks if before else {}).get("sources", {}).get(source, {}))
        if share > loop.spec.data.refuse_above and share > 2 * usual:
            record(
                loop,
                messages.outside(
                    loop.name,
                    key=row.key,
                    source=source,
                    rows=checks["outside"],
                    timeless=checks["timeless"],
                    of=of,
                    content=row.sha256 or "",
                    docs=docs_url(loop, row.key),
                ),
            )


@never_fails
def labels_lost(loop: Loop, row: IngestedPartition, before: IngestedPartition | None) -> None:
    """Labels find no row: told when it is a share that matters, and far more than the last time.

    :param before: the partition published before.
    """
    labels, before_it = row.checks["labels"], (before.checks.get("labels") if before else None) or {}
    usual = LabelCounts(**before_it).lost_share if before_it else 0.0
    if LabelCounts(**labels).lost_share > max(loop.spec.data.refuse_above, 2 * usual):
        record(
            loop,
            messages.labels_lost(
                loop.name,
                key=row.key,
                labels=labels["without_row"],
                of=labels["published"],
                form=labels["form"],
                form_of_rows=labels["form_of_rows"],
                content=row.labels_sha256 or "",
                docs=docs_url(loop, row.key),
            ),
        )


def _outside_share(checks: Mapping[str, Any]) -> tuple[float, int]:
    """Share of a file's rows that are not the partition's, and how many rows it has; of an earlier version's checks, none."""
    outside = int(checks.get("outside", 0)) + int(checks.get("timeless", 0))
    rows = int(checks.get("rows", 0)) + outside
    return (outside / rows if rows else 0.0), rows


@never_fails
def partition_refused(loop: Loop, key: str) -> None:
    """A partition was refused as a whole, as its checks say."""
    checks = read_checks(loop.project, loop.settings, key)
    reasons = {**_reasons(checks.to_dict()), **dict.fromkeys(checks.refusals, 0)}
    record(
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


@never_fails
def episode_opened(loop: Loop, row: EpisodeRow) -> None:
    """An episode was opened."""
    record(
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


@never_fails
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
    record(loop, alert)


def _thread(loop: Loop, release: ReleaseRow) -> str | None:
    training = loop.store.training_of(loop.name, release.version)
    return training.episode if training else None


def _promoted(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(decision.subject)
    record(
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


@never_fails
def of_release(loop: Loop, release: str) -> None:
    """Everything that was decided about a release, from the chain: what a killed task had written and not told is told by the next one."""
    for decision in loop.store.decisions_about(loop.name, release, tuple(_TOLD)):
        _TOLD[decision.kind](loop, decision)


def _verdict(loop: Loop, decision: Decision) -> None:
    """A verdict, in the words of its own: `unscorable`, and verdicts that reject, are in chains of earlier versions alone."""
    _tell_verdict(loop, decision, decision.body["verdict"])


def _rejected(loop: Loop, decision: Decision) -> None:
    _tell_verdict(loop, decision, "reject")


def _kept(loop: Loop, decision: Decision) -> None:
    """A probation that ended early; one that lasted is no news."""
    if decision.body.get("early"):
        _tell_verdict(loop, decision, "keep")


def _tell_verdict(loop: Loop, decision: Decision, verdict: Literal["promote", "hold", "reject", "keep"]) -> None:
    row = loop.store.release(decision.subject)
    bound = decision.body["evidence"].get("bound") or _proof(loop, row)
    record(
        loop,
        messages.verdict(
            loop.name,
            release=row.id,
            version=row.version,
            against=row.against or "none",
            key=decision.key,
            verdict=verdict,
            reason=str(decision.body["reason"]),
            clusters=int(bound.get("clusters") or 0),
            gain=float(bound.get("mean") or 0.0),
            low=float(bound["lower"]) if bound.get("lower") is not None else float("-inf"),
            high=float(bound["upper"]) if bound.get("upper") is not None else float("inf"),
            thread=_thread(loop, row),
            links={"Release": dag_url(loop, "release")},
        ),
    )


def _proof(loop: Loop, row: ReleaseRow) -> dict[str, Any]:
    """The bound of the verdict that put a release before a person; empty when there was none."""
    verdict = loop.store.decision(loop.name, "verdict", row.id)
    return dict(verdict.body["evidence"].get("bound") or {}) if verdict is not None else {}


@never_fails
def approval_wanted(loop: Loop, release: str, link: str) -> None:
    """A person has to answer."""
    row = loop.store.release(release)
    hours = int(loop.spec.release.change.approval_timeout.total_seconds() // 3600)
    record(
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
    record(
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


_TOLD = {
    "verdict": _verdict,
    "rejected": _rejected,
    "kept": _kept,
    "promote": _promoted,
    "roll_back": _rolled_back,
    "unscorable": _verdict,
}
"""How a decision of a release is told, by kind."""


@never_fails
def tampered(loop: Loop, what: str, where: str, error: str) -> None:
    """Something signed is not what it was."""
    record(loop, messages.tampered(loop.name, what=what, where=where, error=error))


@never_fails
def no_node(loop: Loop, run: str, link: str, waits: str, does: WithoutNode, limit: str) -> None:
    """A training's pod found no node within its limit."""
    record(loop, messages.no_node(loop.name, run=run, waits=waits, does=does, limit=limit, link=link))


@never_fails
def more_memory(loop: Loop, run: str, link: str, words: str) -> None:
    """A training was killed for memory and gets more."""
    record(loop, messages.more_memory(loop.name, run=run, words=words, link=link))
