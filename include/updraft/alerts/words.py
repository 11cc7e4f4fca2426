"""Causes, remedies, verdicts and figures in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

CAUSES = {
    "first": "the first model",
    "age": "a model is due",
    "performance": "the model got worse",
    "jump": "the loss jumped",
    "after_jump": "the loss jumped a while ago",
    "guard": "the model is worse than none",
    "drift": "the inputs drifted",
    "limit": "a fixed limit was passed",
    "feed": "the feed is broken",
    "by_hand": "asked for by hand",
    "challenger": "the change in shadow is older than the model that serves",
}
REMEDIES = {  # what Updraft does, what is left for a person
    "retrain": ("A training starts; its result follows in this thread.", ""),
    "recalibrate": ("The calibration layer is refitted; the model itself stays.", ""),
    "quarantine": (
        "The partition was scored; no training, reference or calibration layer will learn from it.",
        "Ask the owner of the source. When it is mended, clear the partition's run of ingest; if the data are right as they are, "
        "`updraft readmit PROJECT PARTITION --reason WHY`.",
    ),
    "person": (
        "Nothing more by itself: neither remedy helps on the last matured partitions.",
        "The features or the world changed: look at the report, then change the features or the project's policy.",
    ),
}
VERDICTS = {  # the same
    "promote": ("It goes on to its promotion.", ""),
    "ask": ("It waits for a person's approval, which is asked for next; until then the model that serves stays.", ""),
    "hold": ("It stays where it is and collects more evidence.", ""),
    "reject": (
        "The release is closed; the model that serves stays. A change that is still wanted is started anew.",
        "",
    ),
    "roll_back": ("The version before is put back now.", ""),
    "keep": ("Probation is over: the version stays.", ""),
}


def share(rows: int, of: int) -> str:
    """A share of rows as a percentage."""
    return f"{rows / of:.2%}" if of else "none"


def counts(reasons: Mapping[str, int]) -> str:
    """Checks and their rows, most rows first, at most ten; a check without rows is about the partition as a whole."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name}: {count:,} rows" if count else name for name, count in ordered[:10]]
    return "\n".join([*shown, f"and {len(ordered) - 10} more checks"] if len(ordered) > 10 else shown)


def gained(against: str, gain: float, low: float, high: float, clusters: int) -> str:
    """A mean gain in loss with its bound; an end that is not finite means that there is no bound yet."""
    if not clusters:
        return "There is no evidence yet."
    known = math.isfinite(low) and math.isfinite(high)
    between = f" [{low:+.4f}, {high:+.4f}]" if known else " (too little evidence for a bound)"
    return f"Gain over version {against}: {gain:+.4f}{between} from {clusters} clusters."


def moment(at: datetime) -> str:
    """A moment to the minute, in UTC, as a person reads it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
