"""What on-call hears of the loop: each event becomes one alert in the outbox. Recording the same one again changes nothing.

Telling never fails whoever tells. What goes wrong stands in the log; an alert that the store does not take is kept
(:mod:`updraft.alerts.untold`), and of an event that cannot be told in full it is told that it happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from updraft.alerts import messages, outbox
from updraft.alerts.words import moment
from updraft.data.checks import LabelCounts
from updraft.data.contract import load_contract
from updraft.data.ingest import read_checks
from updraft.data.rule_words import broken_rules, refused_by_rows
from updraft.files import canonical_hash
from updraft.lake.places import Lake
from updraft.loop.context import Loop
from updraft.loop.decision_words import gates_in_words
from updraft.loop.telling import never_fails, record
from updraft.pods.attempts import WithoutNode
from updraft.release.bound import Bound
from updraft.release.states import Policy
from updraft.store.records import Decision, EpisodeRow, IngestedPartition, ReleaseRow
from updraft.store.releases import RETURNS, release_of

_AT_ONE_TICK = 16
"""More trainings than can be found to have failed at one tick: one is under way at a time."""


def docs_url(loop: Loop, key: str) -> str:
    """Where the data docs of a partition are."""
    base = loop.settings.airflow
    return f"{base}/updraft/files/{loop.name}/docs/{key}/index.html" if base else loop.lake.docs(key)


def learning_url(loop: Loop) -> str:
    """The page of what a project learns from, and what is kept out."""
    return f"{loop.settings.airflow}/updraft/learning/{loop.name}"


def dag_url(loop: Loop, stage: str, run: str | None = None) -> str:
    """A page of the Airflow UI."""
    base = f"{loop.settings.airflow}/dags/{loop.name}.{stage}"
    return f"{base}/runs/{quote(run, safe='')}" if run else base


def evidence_url(loop: Loop, release: str) -> str:
    """Where the picture of a release's evidence is shown."""
    base = loop.settings.airflow
    return Lake(f"{base}/updraft/files", loop.name).evidence(release) if base else loop.lake.evidence(release)


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


@never_fails
def labels_unlisted(loop: Loop, row: IngestedPartition, before: IngestedPartition | None) -> None:
    """Labels of no known class: told when they begin, and when they are twice the share of the last time.

    :param before: the partition published before.
    """
    labels, before_it = row.checks["labels"], (before.checks.get("labels") if before else None) or {}
    usual = LabelCounts(**before_it).unlisted_share if before_it else 0.0
    if LabelCounts(**labels).unlisted_share > 2 * usual:
        unlisted = labels["unlisted"]
        record(
            loop,
            messages.labels_unlisted(
                loop.name,
                key=row.key,
                labels=unlisted,
                of=unlisted + labels["published"],
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
def partition_refused(loop: Loop, key: str, run: str | None = None) -> None:
    """A partition was refused as a whole: the rules that refused it, as its checks say.

    :param run: of the DAG that ingests it, which a person clears when the source is mended.
    """
    checks = read_checks(loop.project, loop.settings, key)
    limit = loop.spec.data.refuse_above
    link = {"Run": dag_url(loop, "ingest", run)} if run else {"Data docs": docs_url(loop, checks.key)}
    record(
        loop,
        messages.refused(
            loop.name,
            key=checks.key,
            rules=broken_rules(load_contract(loop.project), checks, refuse_above=limit),
            by_rows=refused_by_rows(checks, refuse_above=limit),
            content=canonical_hash(dict(checks.raw))[:16],
            links=link,
        ),
    )


@never_fails
def file_late(
    loop: Loop, key: str, *, source: str, error: str, until: datetime | None, links: Mapping[str, str]
) -> None:
    """A partition's file is late.

    :param until: the next tick, until which it is waited for; None when that has passed.
    """
    told = moment(until) if until else None
    record(loop, messages.late(loop.name, key=key, source=source, error=error, until=told, links=links))


@never_fails
def partition_mended(loop: Loop, row: IngestedPartition) -> None:
    """A partition that was refused is published, or has no rows to refuse any more."""
    words = (
        f"Partition {row.key} is published: {row.rows:,} rows."
        if row.state == "published"
        else f"Partition {row.key} is {row.state}."
    )
    outbox.resolve(loop.store.engine, loop.name, messages.REFUSALS, row.key, words=words)


@never_fails
def partition_passed_over(loop: Loop, key: str, by: str, reason: str) -> None:
    """A person said that a partition stays unpublished: nothing of it is wanted any more."""
    words = f"Partition {key} is passed over by {by}: {reason}"
    tasks = ("extract_partition", "validate_partition", "publish_partition")
    incidents = [messages.task_incident(f"{loop.name}.ingest", task) for task in tasks]
    for incident in (messages.REFUSALS, *incidents):
        outbox.resolve(loop.store.engine, loop.name, incident, key, words=words, key=key)


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
            links=_place_of_remedy(loop, row.remedy),
        ),
    )


def _place_of_remedy(loop: Loop, remedy: str) -> dict[str, str]:
    """Where a person sees, or does, what a remedy leaves."""
    match remedy:
        case "retrain":
            return {"Training": dag_url(loop, "train")}
        case "quarantine":
            return {"What it learns from": learning_url(loop)}
        case _:
            return {"Monitor": dag_url(loop, "monitor")}


@never_fails
def trained(loop: Loop, run: str, version: str, gates: dict[str, Any]) -> None:
    """A training passed its gates, or did not. One that brings a version which an earlier run has brought is no news."""
    row, first = loop.store.training(loop.name, run), loop.store.training_of(loop.name, version)
    if first is not None and first.id != run:
        return
    key, thread = (row.key, row.episode) if row else ("", None)
    links = {"Model version": version_url(loop, version)}
    gone = "" if gates["passed"] else ", which its gates refused"
    for incident in (messages.OVERDUE, messages.ENDED):
        words = f"A training has brought version {version}{gone}."
        outbox.resolve(loop.store.engine, loop.name, incident, None, words=words)
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
    about = loop.store.decisions_about(loop.name, release, tuple(kind for kind in TOLD if kind not in RETURNS))
    for decision in sorted((*about, *loop.store.returns(loop.name, release)), key=lambda written: written.seq):
        TOLD[decision.kind](loop, decision)
        if decision.kind in ANSWERED:
            reply = ANSWERED[decision.kind]
            words = f"{reply}: {decision.body['reason']}" if reply else None
            outbox.resolve(loop.store.engine, loop.name, messages.QUESTION, release, words=words)


def _verdict(loop: Loop, decision: Decision) -> None:
    """A verdict, in the words of its own: `unscorable`, and verdicts that reject, are in chains of earlier versions alone."""
    _tell_verdict(loop, decision, decision.body["verdict"])


def _rejected(loop: Loop, decision: Decision) -> None:
    _tell_verdict(loop, decision, "reject")


def _kept(loop: Loop, decision: Decision) -> None:
    """A probation that is over: judged or ended early, or without a judgement."""
    if decision.body.get("unjudged"):
        _tell_unjudged(loop, decision)
    else:
        _tell_verdict(loop, decision, "keep")


def _tell_verdict(loop: Loop, decision: Decision, verdict: Literal["promote", "hold", "reject", "keep"]) -> None:
    row = loop.store.release(decision.subject)
    figures = _figures(decision.body["evidence"].get("bound") or _proof(loop, row))
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
            clusters=figures.clusters,
            gain=figures.mean,
            low=figures.lower,
            high=figures.upper,
            asks=Policy.of(loop.spec).asks(row.lane),
            thread=_thread(loop, row),
            links={"Evidence": evidence_url(loop, row.id)},
        ),
    )


def _tell_unjudged(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(decision.subject)
    figures = _figures(decision.body["evidence"].get("bound") or {})
    record(
        loop,
        messages.unjudged(
            loop.name,
            release=row.id,
            version=row.version,
            against=row.against or "none",
            key=decision.key,
            reason=str(decision.body["reason"]),
            clusters=figures.clusters,
            gain=figures.mean,
            low=figures.lower,
            high=figures.upper,
            thread=_thread(loop, row),
            links={"Release": dag_url(loop, "release", row.id)},
        ),
    )


def _figures(told: Mapping[str, Any]) -> Bound:
    """A bound as a decision's body has it; an end that is not known is infinite."""
    lower, upper = told.get("lower"), told.get("upper")
    return Bound(
        float("-inf") if lower is None else float(lower),
        float("inf") if upper is None else float(upper),
        float(told.get("mean") or 0.0),
        int(told.get("clusters") or 0),
    )


def _superseded(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(decision.subject)
    record(
        loop,
        messages.superseded(
            loop.name,
            release=row.id,
            version=row.version,
            key=decision.key,
            reason=str(decision.body["reason"]),
            was=str(decision.body["from"]),
            continued_by=decision.body.get("continued_by"),
            thread=_thread(loop, row),
            links={"Release": dag_url(loop, "release", row.id)},
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
    row = loop.store.release(release_of(decision.subject))
    record(
        loop,
        messages.rollback(
            loop.name,
            release=decision.subject,
            version=row.version,
            to=str(decision.body["version"]),
            key=decision.key,
            reason=str(decision.body["reason"]),
            by=decision.body.get("by"),
            thread=_thread(loop, row) or row.id,
            links={"Model version": version_url(loop, row.version)},
        ),
    )


def _reinstated(loop: Loop, decision: Decision) -> None:
    row = loop.store.release(release_of(decision.subject))
    record(
        loop,
        messages.reinstated(
            loop.name,
            release=row.id,
            subject=decision.subject,
            version=row.version,
            previous=str(decision.body["previous"]),
            key=decision.key,
            reason=str(decision.body["reason"]),
            thread=_thread(loop, row),
            links={"Model version": version_url(loop, row.version)},
        ),
    )


@never_fails
def trainings_ended(loop: Loop, key: str) -> None:
    """Trainings that episodes had called for and that were found at a tick to bring no model."""
    for decision in loop.store.newest_decisions(loop.name, ("training_ended",), _AT_ONE_TICK):
        if decision.key == key:
            why, links = str(decision.body["reason"]), {"Training run": dag_url(loop, "train", decision.subject)}
            record(loop, messages.training_ended(loop.name, episode=decision.subject, key=key, why=why, links=links))


TOLD = {
    "verdict": _verdict,
    "rejected": _rejected,
    "kept": _kept,
    "promote": _promoted,
    "roll_back": _rolled_back,
    "reinstate": _reinstated,
    "superseded": _superseded,
    "unscorable": _verdict,
}
"""How a decision of a release is told, by kind."""
ANSWERED = {"promote": None, "rejected": "It is rejected", "superseded": None}
"""Decisions that end a question to a person, and what the question's thread hears of it: nothing where the decision is told at once anyway; a
rejection may wait for the digest."""


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
