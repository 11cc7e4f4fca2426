"""Drift of a partition's features against the window that the champion learnt from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from updraft.files import canonical_hash
from updraft.loop.context import Loop
from updraft.loop.keptout import kept_out, readmitted_signs
from updraft.monitoring.drift import FEWEST, DriftReport, Threshold, assess, calibrate
from updraft.monitoring.faults import FeedFault, feed_faults
from updraft.monitoring.profiles import Profile
from updraft.monitoring.reference import Reference, fit_reference, same_season
from updraft.spec.features import FeatureCode
from updraft.store.records import TrainingRow

DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Drifting:
    """What a tick's profile says."""

    report: DriftReport | None
    feed_faults: tuple[FeedFault, ...] = ()
    against: str = ""
    """What the profiles were held against."""

    @property
    def alarm_words(self) -> str | None:
        """Words of the alarm; None when there is none."""
        return f"{self.report.reason} (against {self.against})" if self.report and self.report.alarm else None

    @property
    def fault_words(self) -> list[str]:
        """What is wrong with the feed, in words."""
        return [fault.words for fault in self.feed_faults]

    def as_dict(self) -> dict[str, Any]:
        """For the tick's decision."""
        report = self.report
        if report is None:
            return {"alarm": False, "reason": "no champion yet", "feed_faults": self.fault_words}
        chosen = {
            name: value
            for name, value in asdict(report).items()
            if name in ("score", "threshold", "alarm", "column", "reason")
        }
        return {**chosen, "against": self.against, "feed_faults": self.fault_words}


def look_for_drift(loop: Loop, key: str) -> Drifting:
    """Hold the newest profiles against what the champion knows. Without a champion there is no reference.

    Drift is measured against the same season of earlier years where the history has enough of it, else against the champion's training window;
    a broken feed shows against the window.
    """
    training = _champions(loop, key)
    if training is None:
        return Drifting(None)
    code, window = _code_of(loop, training), tuple(training.result["window"])
    reference, threshold = _reference(loop, window, code)
    faults = _faults(loop, key, window, code, reference)
    against, season = "the champion's training window", seasonal_keys(loop, key)
    if season:
        against = "the same season of earlier years"
        reference, threshold = _reference(loop, season, code)
    out = kept_out(loop.store, loop.name, key) - {key}
    after = [
        row.key for row in loop.store.partitions(loop.name, until=key) if row.key > window[-1] and row.key not in out
    ]
    recent = [loop.profile(one, code) for one in after[-threshold.of :]]
    return Drifting(assess(reference, threshold, recent), faults, against)


def broken_feed(loop: Loop, key: str) -> tuple[FeedFault, ...]:
    """Signs that a partition's feed is broken; none without a champion to hold it against, or of what that has learnt from."""
    training = _champions(loop, key)
    if training is None:
        return ()
    code, window = _code_of(loop, training), tuple(training.result["window"])
    return _faults(loop, key, window, code, _reference(loop, window, code)[0])


def _champions(loop: Loop, key: str) -> TrainingRow | None:
    """The training of what serves, if it has not learnt from this partition."""
    champion = loop.store.serving(loop.name).champion
    found = (
        next((row for row in loop.store.trainings(loop.name) if row.version == champion), None) if champion else None
    )
    return None if found is None or key in found.result["window"] else found


def _faults(
    loop: Loop, key: str, window: tuple[str, ...], code: FeatureCode, reference: Reference
) -> tuple[FeedFault, ...]:
    """Faults less those of columns about which a person has said, since the champion was trained, that they are right as they are."""
    said = readmitted_signs(loop.store, loop.name, window)
    return tuple(
        fault
        for fault in feed_faults(loop.profile(key, code), reference, _before(loop, key, code))
        if (fault.kind, fault.column) not in said
        # few partitions do not show how far weather alone moves a column
        and (fault.kind != "unit" or reference.partitions >= FEWEST)
    )


def seasonal_keys(loop: Loop, key: str) -> tuple[str, ...]:
    """Keys of the same season in earlier years; none where the history is too short for a reference of them."""
    out = kept_out(loop.store, loop.name, key)
    rows = (row for row in loop.store.partitions(loop.name, until=key) if row.key not in out)
    keys = {loop.partition(row.key).tick: row.key for row in rows}
    return tuple(keys[tick] for tick in same_season(list(keys), loop.partition(key).tick))


def _code_of(loop: Loop, training: TrainingRow) -> FeatureCode:
    """The features that the champion takes: today's, unless features.py has changed since."""
    if training.result.get("features_sha256") == loop.features.sha256 or training.version is None:
        return loop.features
    return loop.features_of(loop.models.load(training.version))


def _reference(loop: Loop, window: tuple[str, ...], code: FeatureCode) -> tuple[Reference, Threshold]:
    """The reference of some partitions, calibrated once; kept in the lake under everything that it follows from."""
    made_of = {
        "partitions": [(key, loop.published(key).sha256) for key in window],
        "features": code.sha256,
        "policy": loop.spec.monitoring.drift.model_dump(mode="json"),
    }
    place = f"references/{window[-1]}-{canonical_hash(made_of)[:16]}.json"
    if (kept := loop.notes.read(place)) is not None:
        return Reference.from_dict(kept["reference"]), Threshold.from_dict(kept["threshold"])
    profiles = [loop.profile(key, code) for key in window]
    span = loop.partition(window[-1]).tick - loop.partition(window[-1]).start
    per_year = DAYS_PER_YEAR * 86400 / span.total_seconds()
    reference, threshold = fit_reference(profiles), calibrate(profiles, loop.spec.monitoring.drift, per_year)
    loop.notes.write(place, {"reference": reference.as_dict(), "threshold": threshold.as_dict()})
    return reference, threshold


def _before(loop: Loop, key: str, code: FeatureCode) -> Profile | None:
    """The newest partition before this one whose feed was whole: after a change of unit, each one is held against what came before it."""
    out = kept_out(loop.store, loop.name, key)
    earlier = [row.key for row in loop.store.partitions(loop.name, until=key) if row.key < key and row.key not in out]
    return loop.profile(earlier[-1], code) if earlier else None
