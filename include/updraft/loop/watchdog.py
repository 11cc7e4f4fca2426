"""Is the last training older than the policy lets it become, and what holds the next one back?

Counted in partitions that ingestion has finished with, refused ones included: a feed that is refused for weeks is the very silence that
this is about. What is asked here is asked by key or by range, and of no more partitions than a training window has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from updraft.data.partitions import KEY_FORMAT
from updraft.errors import DataError
from updraft.loop.kept_out import count_signs
from updraft.loop.monitor import MONITOR
from updraft.loop.plan import newest_labelled
from updraft.loop.stopping import stopped_remedies
from updraft.loop.trials import why_no_refit_trial
from updraft.spec.model import ProjectSpec, Retrain
from updraft.store.records import PartitionRow
from updraft.store.store import Store


@dataclass(frozen=True)
class OverdueTraining:
    """Learning stands still."""

    last: str | None
    """The tick of the last training that brought a model; None when there was none."""
    key: str
    """The newest partition."""
    partitions: int
    """Partitions since."""
    limit: int
    """How many the policy lets pass."""
    holding_back: tuple[str, ...]
    """What is in the way, as far as the store shows it."""

    @property
    def told(self) -> int:
        """How often it is to have been told by now: when it became overdue, and each time twice as many partitions have passed."""
        return (self.partitions // self.limit).bit_length()

    @property
    def words(self) -> str:
        """One line for a person."""
        since = f"since {self.last}" if self.last else "yet"
        return (
            f"no training {since}, {self.partitions} partitions; the policy lets {self.limit} pass. "
            f"What holds it back: {'; '.join(self.holding_back)}"
        )


def has_trained_lately(store: Store, spec: ProjectSpec) -> bool:
    """Whether the last training is young enough for the policy, or the policy sets no limit."""
    return _partitions_since_training(store, spec) is None


def overdue_training(store: Store, spec: ProjectSpec) -> OverdueTraining | None:
    """What is told of a project whose last training is too old; None when it is not, or a training is called for at this very tick."""
    since = _partitions_since_training(store, spec)
    if since is None:
        return None
    key, last, by_state, allowed = since.key, since.last, since.by_state, since.allowed
    open_episodes = [row for row in store.episodes(spec.name, states=("due", "started")) if row.remedy == "retrain"]
    if any(row.opened_at == key for row in open_episodes):
        return None
    under_way = [
        f"the training of episode {row.id} was started and has not ended"
        if row.state == "started"
        else f"episode {row.id} calls for a training that {spec.name}.watch has not started"
        for row in open_episodes
    ]
    reasons = (*under_way, *_in_the_way(store, spec, key, last or "", by_state.get("refused", 0)))
    unknown = f"nothing that the store shows; see the runs of {spec.name}.watch and {spec.name}.train"
    return OverdueTraining(last, key, sum(by_state.values()), allowed, reasons or (unknown,))


@dataclass(frozen=True)
class _Silence:
    """More partitions since the last training than the policy lets pass."""

    last: str | None
    key: str
    by_state: Mapping[str, int]
    allowed: int


def _partitions_since_training(store: Store, spec: ProjectSpec) -> _Silence | None:
    """What has come since the last training; None while the policy lets it pass."""
    limit, key = spec.training_due_within, store.newest_partition(spec.name, state=None)
    if limit is None or key is None:
        return None
    last = store.newest_training(spec.name)
    by_state = store.count_ingested(spec.name, after=last or "")
    allowed = limit if last else limit + spec.training.first_after
    return None if sum(by_state.values()) < allowed else _Silence(last, key, by_state, allowed)


def _in_the_way(store: Store, spec: ProjectSpec, key: str, last: str, refused: int) -> Iterator[str]:
    """Everything that keeps a training from being called for."""
    name, retrain = spec.name, spec.monitoring.remedies.retrain
    if (stop := stopped_remedies(store, name)) is not None:
        yield f"{stop.body['by']} stopped the remedies: {stop.body['reason']} (`updraft remedies resume {name} --reason WHY`)"
    if retrain is None:
        yield f"the policy never retrains (monitoring.remedies.retrain is null): start {name}.train by hand"
    elif retrain.every is None:
        yield f"the policy trains on triggers alone, and none has called for one since (on: {', '.join(map(str, retrain.on)) or 'none'})"
        if "performance" in retrain.on and (without := why_no_refit_trial(spec)):
            yield without
    window = [row.key for row in store.partitions(name, until=key, newest=spec.training.window)]
    recent = [published for published in window if published > last]
    kept_out = store.keeping_out(name, since=recent[0], until=key) if recent else []
    if kept_out:
        signs = ", ".join(count.words for count in count_signs(kept_out))
        yield f"{len(kept_out)} of the newest {len(recent)} partitions are kept out, their feed looked broken: {signs}"
    if refused:
        yield f"{refused} partitions were refused since"
    yield from _labels(store, spec, key, last)
    if retrain is not None:
        yield from _budgets(store, name, retrain, key)
    if failed := store.count_failed_trainings(name, after=last):
        yield f"{failed} trainings failed since"
    if (fruitless := store.fruitless_trainings(name, until=key)) > 1:
        yield f"the last {fruitless} trainings came to nothing: refused, rejected or rolled back"
    for release in store.releases(name, states=("shadow", "approval")):
        yield f"release {release.id} is open, in {release.state} since {release.opened_at}"
    monitored = store.seen_by(name, MONITOR) or ""
    if window and monitored < window[-1]:
        newest = f"since {monitored}" if monitored else "yet"
        yield f"{name}.monitor has looked at no partition {newest}, and the newest is {window[-1]}: see its runs and those of {name}.score"


def _budgets(store: Store, name: str, retrain: Retrain, key: str) -> Iterator[str]:
    # Of the key itself: the schedule may have changed, and tick at it no more.
    newest_tick = datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC)
    year_ago = (newest_tick - timedelta(days=365)).strftime(KEY_FORMAT)
    if store.count_trainings(name, after=year_ago, until=key) >= retrain.per_year:
        yield f"the budget of {retrain.per_year} trainings a year is spent (monitoring.remedies.retrain.per_year)"
    if (rate := retrain.at_most) is not None:
        first = store.budget_key(name, rate.trainings, until=key)
        if first is not None and store.count_published(name, after=first, until=key) < rate.of:
            yield f"{rate} partitions have brought a training, as many as may (monitoring.remedies.retrain.at_most)"


def _labels(store: Store, spec: ProjectSpec, key: str, last: str) -> Iterator[str]:
    """Whether there is anything to learn from."""
    try:
        labelled = newest_labelled(spec, key)
    except DataError:
        yield f"data.schedule does not tick at the newest partition, {key}, any more: no partition of the new schedule has come yet"
        return
    rows = store.partitions(spec.name, until=labelled, newest=spec.training.first_after, learnable=True)
    if not rows or rows[-1].key <= last:
        yield "no labels of partitions that may be learnt from have matured since"
    elif not last and len(rows) < spec.training.first_after:
        yield f"{len(rows)} partitions with known labels are there, and the first model needs {spec.training.first_after}"
    elif all(row.labels_url is None for row in _ticks(store, spec, last, key)):
        yield "no labels came with any partition since"


def _ticks(store: Store, spec: ProjectSpec, last: str, key: str) -> list[PartitionRow]:
    """The newest ticks after the last training, whatever became of their partitions: labels mature at each."""
    return store.partitions(spec.name, after=last, until=key, state=None, newest=spec.training.window)
