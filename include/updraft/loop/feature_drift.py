"""Drift of a partition's features against the window that the champion learnt from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from updraft.data.partitions import KEY_FORMAT, first_key_from
from updraft.files import canonical_hash
from updraft.loop.context import Loop
from updraft.loop.kept_out import readmitted_signs
from updraft.monitoring.drift import DriftReport, Threshold, assess, calibrate
from updraft.monitoring.faults import FeedFault, feed_faults
from updraft.monitoring.profiles import Profile
from updraft.monitoring.reference import AROUND, Reference, earlier_seasons, fit_reference, same_season
from updraft.monitoring.usual import Usual, fit_usual
from updraft.spec.features import FeatureCode
from updraft.store.records import TrainingRow

DAYS_PER_YEAR = 365.25
DENSE = 200
"""Partitions of a season of one year above which the season is chosen once a week: shorter than ten hours each."""
WEEK = timedelta(days=8)
"""What a feed is held against covers at least this much, however short the partitions are: nights and weekends are seen in it."""
SHOWN_COLUMNS = 40
"""The columns farthest from the reference whose distance a tick's decision keeps, for people."""
_FORM = 2
"""Of references and baselines as they are kept: those of another form are worked out anew."""


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
        farthest = sorted(report.scores.items(), key=lambda scored: -scored[1])[:SHOWN_COLUMNS]
        scores = {column: round(score, 3) for column, score in farthest}
        return {**chosen, "scores": scores, "against": self.against, "feed_faults": self.fault_words}


def look_for_drift(loop: Loop, key: str) -> Drifting:
    """Hold the newest profiles against what the champion knows. Without a champion there is no reference.

    Drift is measured against the same season of earlier years where the history has enough of it, else against the champion's training window;
    a broken feed shows against the window.
    """
    training = _champions(loop, key)
    if training is None:
        return Drifting(None)
    code, window = _code_of(loop, training), tuple(training.result["window"])
    faults = _faults(loop, key, window, code)
    against = "the same season of earlier years"
    if (seasonal := _seasonal_reference(loop, key, code)) is None:
        against = "the champion's training window"
    reference, threshold = seasonal or _reference(loop, window, code)
    after = loop.store.partitions(
        loop.name, after=window[-1], until=key, newest=threshold.of, learnable=True, but=(key,)
    )
    recent = [loop.profile(row.key, code) for row in after]
    return Drifting(assess(reference, threshold, recent), faults, against)


def broken_feed(loop: Loop, key: str) -> tuple[FeedFault, ...]:
    """Signs that a partition's feed is broken; none without a champion to hold it against, or of what that has learnt from."""
    training = _champions(loop, key)
    if training is None:
        return ()
    code, window = _code_of(loop, training), tuple(training.result["window"])
    return _faults(loop, key, window, code)


def _champions(loop: Loop, key: str) -> TrainingRow | None:
    """The training of what serves, if it has not learnt from this partition."""
    training = loop.store.training_of(loop.name, loop.store.serving(loop.name).champion)
    return None if training is None or key in training.result["window"] else training


def _faults(loop: Loop, key: str, window: tuple[str, ...], code: FeatureCode) -> tuple[FeedFault, ...]:
    """Faults less those of which a person has said that they are right as they are: since the champion was trained, or for good."""
    faults = feed_faults(loop.profile(key, code), _usual(loop, window, code), _before(loop, key, code))
    if not faults:
        return ()
    right = readmitted_signs(loop.store, loop.name, window)
    return tuple(fault for fault in faults if (fault.kind, fault.column) not in right)


def seasonal_keys(loop: Loop, key: str) -> tuple[str, ...]:
    """Keys of the same season in earlier years; none where the history is too short for a reference of them."""
    return _keys_of_season(loop, loop.partition(key).tick)


def _keys_of_season(loop: Loop, now: datetime) -> tuple[str, ...]:
    oldest = loop.store.oldest_partition(loop.name)
    if oldest is None:
        return ()
    keys = {
        loop.partition(row.key).tick: row.key
        for first, last in earlier_seasons(loop.partition(oldest).tick, now)
        for row in loop.store.partitions(
            loop.name, since=first_key_from(first), until=last.strftime(KEY_FORMAT), learnable=True
        )
    }
    return tuple(keys[tick] for tick in same_season(list(keys), now))


def _seasonal_reference(loop: Loop, key: str, code: FeatureCode) -> tuple[Reference, Threshold] | None:
    """The reference of the same season in earlier years; None where the history is too short for one.

    A season of hours has two thousand partitions for each year. It changes by one of them at each tick, and would be read and calibrated
    anew at each. So where a season has many partitions, it is the one around the beginning of the week, and is read once a week.
    """
    monday = _season_begins_at(loop, key)
    if monday is None:
        keys = seasonal_keys(loop, key)
        return _reference(loop, keys, code) if keys else None
    policy = loop.spec.monitoring.drift.model_dump(mode="json")
    depends_on = {"features": code.sha256, "policy": policy, "form": _FORM}
    place = loop.lake.season_place(f"{monday:%Y-%m-%d}", canonical_hash(depends_on))
    if (kept := loop.notes.read(place)) is None:
        keys = _keys_of_season(loop, monday)
        if not keys:
            return None
        reference, threshold = _reference(loop, keys, code)
        kept = {"reference": reference.as_dict(), "threshold": threshold.as_dict()}
        loop.notes.write(place, kept)
    return Reference.from_dict(kept["reference"]), Threshold.from_dict(kept["threshold"])


def _season_begins_at(loop: Loop, key: str) -> datetime | None:
    """The beginning of a partition's week, where a season has so many partitions that it is chosen once a week; else None."""
    now = loop.partition(key)
    if 2 * AROUND / (now.tick - now.start) <= DENSE:
        return None
    return (now.tick - timedelta(days=now.tick.weekday())).replace(hour=0, minute=0)


def held_against(loop: Loop, key: str, training: TrainingRow) -> tuple[tuple[str, ...], FeatureCode]:
    """Of a partition and the training of its champion: the partitions that drift is held against, and the features by which it is measured."""
    monday = _season_begins_at(loop, key)
    season = seasonal_keys(loop, key) if monday is None else _keys_of_season(loop, monday)
    return season or tuple(training.result["window"]), _code_of(loop, training)


def _code_of(loop: Loop, training: TrainingRow) -> FeatureCode:
    """The features that the champion takes: today's, unless features.py has changed since."""
    if training.result.get("features_sha256") == loop.features.sha256 or training.version is None:
        return loop.features
    return loop.features_of(loop.models.load(training.version))


def _reference(loop: Loop, window: tuple[str, ...], code: FeatureCode) -> tuple[Reference, Threshold]:
    """The reference of some partitions, calibrated once; kept in the lake under everything that it follows from."""
    made_of = {
        "partitions": [(row.key, row.sha256) for row in loop.all_published(window)],
        "features": code.sha256,
        "policy": loop.spec.monitoring.drift.model_dump(mode="json"),
        "form": _FORM,
    }
    place = loop.lake.reference_place(window[-1], canonical_hash(made_of))
    if (kept := loop.notes.read(place)) is not None:
        return Reference.from_dict(kept["reference"]), Threshold.from_dict(kept["threshold"])
    profiles = [loop.profile(key, code) for key in window]
    span = loop.partition(window[-1]).tick - loop.partition(window[-1]).start
    per_year = DAYS_PER_YEAR * 86400 / span.total_seconds()
    reference, threshold = fit_reference(profiles), calibrate(profiles, loop.spec.monitoring.drift, per_year)
    loop.notes.write(place, {"reference": reference.as_dict(), "threshold": threshold.as_dict()})
    return reference, threshold


def _usual(loop: Loop, window: tuple[str, ...], code: FeatureCode) -> Usual:
    """The baseline of the feed: the partitions of a training window, and as many before it as make it cover a week."""
    first = first_key_from(loop.partition(window[-1]).tick - WEEK)
    before = loop.store.partitions(loop.name, since=first, until=window[0], learnable=True)
    rows = [*(row for row in before if row.key < window[0]), *loop.all_published(window)]
    made_of = {"partitions": [(row.key, row.sha256) for row in rows], "features": code.sha256, "form": _FORM}
    place = loop.lake.baseline_place(window[-1], canonical_hash(made_of))
    if (kept := loop.notes.read(place)) is not None:
        return Usual.from_dict(kept)
    usual = fit_usual([loop.profile(row.key, code) for row in rows])
    loop.notes.write(place, usual.as_dict())
    return usual


def _before(loop: Loop, key: str, code: FeatureCode) -> Profile | None:
    """The newest partition before this one whose feed was whole: after a change of unit, each one is held against what came before it."""
    newest = loop.store.partitions(loop.name, until=key, newest=2, learnable=True, but=(key,))
    earlier = [row.key for row in newest if row.key < key]
    return loop.profile(earlier[-1], code) if earlier else None
