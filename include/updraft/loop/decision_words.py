"""Decisions in words: one line each, for `updraft status`, the replay, and people."""

from __future__ import annotations

from collections.abc import Mapping

from updraft.alerts.alert import cleaned
from updraft.loop.kept_out import sign_words
from updraft.loop.rotated import DESTROY, ROTATE
from updraft.loop.stopping import REMEDIES
from updraft.store.records import Decision

CARRIED = "carried"
"""Kind of the decision that a version of another environment enters; its subject is the run under which it does."""

TELLING = (
    "promote",
    "roll_back",
    "reinstate",
    "superseded",
    "training_ended",
    "accept",
    "refuse",
    "verdict",
    "unscorable",
    "approval",
    "kept",
    "rejected",
    "readmit",
    "accept_sign",
    "pass_over",
    "release_rows",
    "drop_rows",
    "forget",
    ROTATE,
    CARRIED,
    REMEDIES,
    DESTROY,
)
"""Kinds of decisions that always say something. A diagnosis does where it calls for a remedy."""


def in_words(decision: Decision) -> str | None:
    """What was decided; None when it was that nothing is to be treated. What a terminal would obey is replaced."""
    words = _words(decision)
    return None if words is None else cleaned(words)


def _words(decision: Decision) -> str | None:
    body = decision.body
    reason = str(body.get("reason", ""))
    match decision.kind:
        case "promote":
            before = f" in place of {body['previous']}" if body.get("previous") else ""
            return f"promoted version {body['version']}{before} ({body['lane']}): {reason}"
        case "roll_back" | "reinstate" | "superseded" | "training_ended":
            return f"{_about_ends(decision)}: {reason}"
        case "accept":
            return f"trained version {body['version']} ({body['lane']}): {gates_in_words(body['gates'])}"
        case "refuse":
            return f"refused version {body['version']} ({body['lane']}): {'; '.join(body['gates']['reasons'])}"
        case (
            "verdict" | "unscorable"
        ):  # a verdict that rejects, and `unscorable`, are in chains of earlier versions alone
            return f"verdict on version {body['version']}: {body['verdict']}, {reason}"
        case "approval":
            return f"{'approved' if body['approved'] else 'rejected'} version {body['version']} by {body['by']}{_why(body)}"
        case "kept":
            return f"kept version {body['version']} after its probation: {reason}"
        case "rejected":
            by = f" by {body['by']}" if body.get("by") else ""
            return f"rejected version {body['version']}{by + _why(body) if by else f': {reason}'}"
        case "diagnose":
            diagnosis = body.get("diagnosis")
            if diagnosis:
                return f"episode {body['episode']}: {diagnosis['remedy']}, {diagnosis['words']}"
            return None
        case (
            "readmit"
            | "accept_sign"
            | "pass_over"
            | "release_rows"
            | "drop_rows"
            | "forget"
            | "carried"
            | "remedies"
            | "rotate_pseudonyms"
            | "destroy_pseudonym_key"
        ):
            return f"{_said(decision)} (by {body['by']}): {reason}"
        case "recalibrate":
            layer = body["layer"]
            what = f"intercept {layer['intercept']:+.3f}, slope {layer['slope']:.3f}" if layer else "no layer"
            return f"recalibrated version {body['version']}: {what} ({reason})"
    return f"{decision.kind} {decision.subject}"


def _why(body: Mapping[str, object]) -> str:
    """What a person said who answered; empty without a word."""
    return f": {body['said']}" if body.get("said") else ""


def _about_ends(decision: Decision) -> str:
    """What became of a version that served, of a release without a verdict, or of an episode without a model."""
    body = decision.body
    match decision.kind:
        case "roll_back":
            return f"rolled back to version {body['version']} from {body['previous']}"
        case "reinstate":
            return f"reinstated version {body['version']} in place of {body['previous']}"
        case "superseded":
            return f"closed the release of version {body['version']} in {body['from']}"
    return f"episode {decision.subject} ended without a model"


def _said(decision: Decision) -> str:
    """What a person said of a feed that looked broken, of a partition that is not published, or of the remedies."""
    body = decision.body
    if decision.kind == REMEDIES:
        return f"{'stopped' if body['stopped'] else 'resumed'} the remedies"
    if decision.kind == "readmit":
        return f"readmitted partition {body['partition']}"
    if decision.kind == "pass_over":
        return f"passed over partition {body['partition']}, {body['fate']}"
    if decision.kind in ("release_rows", "drop_rows"):
        rows = ", ".join(f"{count:,} rows of {source}" for source, count in body["rows"].items())
        done = "released" if decision.kind == "release_rows" else "dropped"
        return f"{done} {rows} from the quarantine of partition {body['partition']}"
    if decision.kind == CARRIED:
        return f"version {body['origin_version']} of {body['origin']} enters as a change"
    if decision.kind == DESTROY:
        return f"destroyed pseudonym key {body['before']}, in whose place {body['after']} came"
    if decision.kind == ROTATE:
        return f"pseudonyms are made with key {body['after']} from partition {body['since']} on"
    if decision.kind == "forget":
        return f"a person is forgotten, by {body['column']}"
    signs = ", ".join(sign_words((kind, column)) for kind, column in body["signs"])
    return f"{signs}: {'no fault any more' if body['accepted'] else 'a fault again'}"


def gates_in_words(gates: Mapping[str, object]) -> str:
    """What a model that passed was measured by."""
    metrics = gates.get("metrics")
    if not isinstance(metrics, dict):
        return "passed the gates"
    figures = ", ".join(
        f"{name} {loss['candidate']:.4f} against {loss['against']:.4f}" for name, loss in metrics.items()
    )
    note = f" ({gates['note']})" if gates.get("note") else ""
    fairness = gates.get("fairness")
    groups = "".join(f"; {gap['words']}" for gap in fairness.values()) if isinstance(fairness, dict) else ""
    return f"passed the gates against the {gates.get('against')}: {figures}{note}{groups}"
