"""Decisions in words: one line each, for `updraft status`, the replay, and people."""

from __future__ import annotations

from collections.abc import Mapping

from updraft.alerts.alert import cleaned
from updraft.store.records import Decision


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
        case "roll_back":
            return f"rolled back to version {body['version']} from {body['previous']}: {reason}"
        case "accept":
            return f"trained version {body['version']} ({body['lane']}): {gates_in_words(body['gates'])}"
        case "refuse":
            return f"refused version {body['version']} ({body['lane']}): {'; '.join(body['gates']['reasons'])}"
        case "verdict" | "unscorable":
            return f"verdict on version {body['version']}: {body['verdict']}, {reason}"
        case "approval":
            return f"{'approved' if body['approved'] else 'rejected'} version {body['version']} by {body['by']}"
        case "kept":
            return f"kept version {body['version']} after its probation: {reason}"
        case "rejected":
            return f"rejected version {body['version']}: {reason}"
        case "diagnose":
            diagnosis = body.get("diagnosis")
            if diagnosis:
                return f"episode {body['episode']}: {diagnosis['remedy']}, {diagnosis['words']}"
            return None
        case "readmit":
            return f"readmitted partition {body['partition']} (by {body['by']}): {reason}"
        case "recalibrate":
            layer = body["layer"]
            what = f"intercept {layer['intercept']:+.3f}, slope {layer['slope']:.3f}" if layer else "no layer"
            return f"recalibrated version {body['version']}: {what} ({reason})"
    return f"{decision.kind} {decision.subject}"


def gates_in_words(gates: Mapping[str, object]) -> str:
    """What a model that passed was measured by."""
    metrics = gates.get("metrics")
    if not isinstance(metrics, dict):
        return "passed the gates"
    figures = ", ".join(
        f"{name} {loss['candidate']:.4f} against {loss['against']:.4f}" for name, loss in metrics.items()
    )
    return f"passed the gates against the {gates.get('against')}: {figures}"
