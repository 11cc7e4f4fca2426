"""Causes, remedies and verdicts in words."""

from __future__ import annotations

CAUSES = {
    "first": "the first model",
    "age": "a model is due",
    "performance": "the model got worse",
    "drift": "the inputs drifted",
    "limit": "a fixed limit was passed",
    "feed": "the feed is broken",
    "by_hand": "asked for by hand",
}
REMEDIES = {  # what Updraft does, what is left for a person
    "retrain": ("A training starts; its result follows in this thread.", ""),
    "recalibrate": ("The calibration layer is refitted; the model itself stays.", ""),
    "quarantine": (
        "The broken data is kept out, and nothing is trained on it.",
        "Ask the owner of the source: this is the feed, not the world.",
    ),
    "person": (
        "Nothing more by itself: neither remedy helps on the last matured partitions.",
        "The features or the world changed: look at the report, then change the features or the project's policy.",
    ),
}
VERDICTS = {  # the same
    "promote": ("It goes on to its promotion.", ""),
    "hold": ("It stays where it is and collects more evidence.", ""),
    "reject": (
        "The release is closed; the model that serves stays.",
        "Nothing, unless the change is still wanted: then change it.",
    ),
    "roll_back": ("The version before is put back now.", ""),
    "keep": ("Probation is over: the version stays.", ""),
}
