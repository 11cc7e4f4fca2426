"""Drift of a partition's features against the window that the champion learnt from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from updraft import files
from updraft.loop.context import Loop
from updraft.monitoring.drift import FEWEST, DriftReport, Threshold, assess, calibrate
from updraft.monitoring.faults import feed_faults
from updraft.monitoring.profiles import Profile
from updraft.monitoring.reference import Reference, fit_reference

DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Drifting:
    """What a tick's profile says."""

    report: DriftReport | None
    feed_faults: tuple[str, ...] = ()

    @property
    def alarm_words(self) -> str | None:
        """Words of the alarm; None when there is none."""
        return self.report.reason if self.report and self.report.alarm else None

    def as_dict(self) -> dict[str, Any]:
        """For the tick's decision."""
        report = self.report
        if report is None:
            return {"alarm": False, "reason": "no champion yet", "feed_faults": list(self.feed_faults)}
        chosen = {
            name: value
            for name, value in asdict(report).items()
            if name in ("score", "threshold", "alarm", "column", "reason")
        }
        return {**chosen, "feed_faults": list(self.feed_faults)}


def profile_of(loop: Loop, key: str) -> Profile:
    """The profile of a partition's features, as ingestion stored it.

    :raises StoreError: when the partition is not published.
    """
    row = loop.published(key)
    return Profile.from_dict(row.profile or {})


def look_for_drift(loop: Loop, key: str) -> Drifting:
    """Hold the newest profiles against the champion's training window. Without a champion there is no reference."""
    serving = loop.store.serving(loop.name)
    training = (
        next((row for row in loop.store.trainings(loop.name) if row.version == serving.champion), None)
        if serving.champion
        else None
    )
    if training is None:
        return Drifting(None)
    window = training.result["window"]
    if key in window:
        return Drifting(None)
    reference, threshold = _reference(loop, str(serving.champion), window)
    newest = profile_of(loop, key)
    faults = tuple(
        fault.words
        for fault in feed_faults(newest, reference, _before(loop, key))
        if fault.kind != "unit"
        or reference.partitions >= FEWEST  # few partitions do not show how far weather alone moves a column
    )
    after = [row.key for row in loop.store.partitions(loop.name, until=key) if row.key > window[-1]]
    recent = [profile_of(loop, one) for one in after[-threshold.of :]]
    return Drifting(assess(reference, threshold, recent), faults)


def _reference(loop: Loop, version: str, window: list[str]) -> tuple[Reference, Threshold]:
    """The pinned reference of a version, calibrated once."""
    url = loop.url("references", f"v{version}.json")
    try:
        kept = files.read_json(url)
        return Reference.from_dict(kept["reference"]), Threshold.from_dict(kept["threshold"])
    except FileNotFoundError:
        pass
    profiles = [profile_of(loop, key) for key in window]
    span = loop.partition(window[-1]).tick - loop.partition(window[-1]).start
    per_year = DAYS_PER_YEAR * 86400 / span.total_seconds()
    reference, threshold = fit_reference(profiles), calibrate(profiles, loop.spec.monitoring.drift, per_year)
    files.write_json(url, {"reference": reference.as_dict(), "threshold": threshold.as_dict()})
    return reference, threshold


def _before(loop: Loop, key: str) -> Profile | None:
    earlier = [row.key for row in loop.store.partitions(loop.name, until=key) if row.key < key]
    return profile_of(loop, earlier[-1]) if earlier else None
