"""What operations watch of each project, as metrics: read for one scrape, by key and by range, never a history.

What is not known has no sample. Moments are seconds since 1970 (UTC), so that ages are told at the time of the question:
``time() - updraft_partition_timestamp_seconds``. A moment of a partition is its tick, one of an event is the clock's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from updraft.alerts import outbox, untold
from updraft.control.business import series
from updraft.control.exposition import Family, Sample, exposition
from updraft.control.fleet import drift_now, loss_at_promotion, loss_points, newest_rows, trainings_left
from updraft.control.situation import NEEDS_PERSON as STATES_THAT_NEED_A_PERSON
from updraft.control.situation import STATES, Situation, read_situation
from updraft.data.partitions import next_tick, tick_of
from updraft.errors import SettingsError
from updraft.loop.auditing import last_audit
from updraft.loop.context import Loop
from updraft.spec.load import BrokenProject
from updraft.store.records import OPEN_RELEASE
from updraft.store.store import Store

log = logging.getLogger(__name__)

_FATES = ("refused", "failed", "late", "missing", "waiting")
_PROJECT = ("project",)

STORE_UP = Family("updraft_store_up", "1 while the store answers; 0: nothing is known of any project.")
PROJECTS = Family("updraft_projects", "Project folders of this deployment, broken ones included.")
DURATION = Family("updraft_scrape_duration_seconds", "How long this answer took to read.")
KEPT_BY_FILE = Family(
    "updraft_alerts_kept_by_file", "Alerts in a file of the API server's machine, as the store did not take them."
)
INFO = Family(
    "updraft_project_info", "1; who owns the project, its task and its loss.", (*_PROJECT, "owner", "task", "loss")
)
ERROR = Family(
    "updraft_project_error",
    "1 when nothing is told of the project: its folder is wrong, or reading it failed (the API server's log says why).",
    (*_PROJECT, "cause"),
)
STATE = Family(
    "updraft_project_state", "1 for the state that the project is in, 0 for the others.", (*_PROJECT, "state")
)
NEEDS_PERSON = Family("updraft_project_needs_person", "1 when a person is wanted.", _PROJECT)
PARTITION = Family(
    "updraft_partition_timestamp_seconds",
    "Tick of the newest partition that was ingested, published, monitored.",
    (*_PROJECT, "step"),
)
INTERVAL = Family(
    "updraft_partition_interval_seconds", "From the newest partition's tick to the next one by the schedule.", _PROJECT
)
PARTITIONS = Family(
    "updraft_partitions", "Partitions that ingestion has finished with, by state.", (*_PROJECT, "state")
)
WANTED = Family(
    "updraft_partitions_wanted",
    "Partitions of a training window that should be published and are not, by what became of them.",
    (*_PROJECT, "fate"),
)
ROWS = Family("updraft_rows", "Rows of the newest ingested partition, by what became of them.", (*_PROJECT, "outcome"))
QUARANTINED = Family(
    "updraft_quarantined_ratio", "Of the rows of the newest ingested partition, the share in quarantine.", _PROJECT
)
KEPT_OUT = Family(
    "updraft_kept_out_ratio",
    "Of the newest training window's partitions, the share that nothing is learnt from.",
    _PROJECT,
)
CHAMPION = Family("updraft_champion_info", "1; the version that serves.", (*_PROJECT, "version"))
CHAMPION_SINCE = Family(
    "updraft_champion_since_timestamp_seconds", "Tick at which the champion began to serve.", _PROJECT
)
TRAINED = Family(
    "updraft_training_timestamp_seconds",
    "Tick of the newest training that brought a model (newest), and of the one whose model serves (helped).",
    (*_PROJECT, "which"),
)
BUDGET = Family("updraft_training_budget", "Trainings a year that the policy allows.", _PROJECT)
BUDGET_LEFT = Family("updraft_training_budget_left", "Of those, how many are left.", _PROJECT)
LOSS = Family("updraft_loss", "Loss of what served on the newest partition whose labels are known.", _PROJECT)
LOSS_PARTITION = Family("updraft_loss_partition_timestamp_seconds", "Tick of that partition.", _PROJECT)
LOSS_AT_PROMOTION = Family(
    "updraft_loss_at_promotion", "Loss of the champion on the holdout that it was proved on.", _PROJECT
)
FIGURE = Family(
    "updraft_business_figure",
    "Business figure of what served on the newest partition all of whose labels are known.",
    (*_PROJECT, "figure"),
)
FIGURE_BEYOND = Family(
    "updraft_business_figure_beyond_limit", "1 when it does not hold its limit.", (*_PROJECT, "figure")
)
DRIFT = Family(
    "updraft_drift_score", "Largest standardised distance of a column of the newest monitored partition.", _PROJECT
)
DRIFT_THRESHOLD = Family("updraft_drift_threshold", "Above it that distance is drift.", _PROJECT)
DRIFT_ALARM = Family(
    "updraft_drift_alarm", "1 when the newest monitored partition raised the alarm of drift.", _PROJECT
)
RELEASES = Family("updraft_releases_open", "Open releases, by state.", (*_PROJECT, "state"))
RELEASE_OPENED = Family(
    "updraft_release_opened_timestamp_seconds",
    "Tick at which an open release was opened.",
    (*_PROJECT, "release", "version", "lane", "state"),
)
RELEASE_PARTITIONS = Family(
    "updraft_release_partitions", "Partitions monitored since the open release is in its state.", (*_PROJECT, "release")
)
EPISODES = Family("updraft_episodes_open", "Episodes that have not ended, by state.", (*_PROJECT, "state"))
EPISODE_OPENED = Family(
    "updraft_episode_opened_timestamp_seconds", "Tick at which the oldest of those was opened.", _PROJECT
)
STOPPED = Family("updraft_remedies_stopped", "1 while a person has stopped the remedies.", _PROJECT)
UNDELIVERED = Family("updraft_alerts_undelivered", "Alerts that have not reached Slack.", _PROJECT)
UNDELIVERED_SINCE = Family(
    "updraft_alerts_undelivered_timestamp_seconds", "When the oldest of those was recorded.", _PROJECT
)
INCIDENTS = Family(
    "updraft_incidents_open", "What went wrong and is not mended, such as a task that failed for good.", _PROJECT
)
DECISIONS = Family("updraft_decisions", "Length of the chain of decisions.", _PROJECT)
VERIFIED = Family(
    "updraft_chain_verified_timestamp_seconds",
    "When the daily maintenance last held the chain of decisions against its anchors.",
    _PROJECT,
)
CHAIN_WHOLE = Family("updraft_chain_whole", "1 when the chain was whole then.", _PROJECT)
TICK_DURATION = Family(
    "updraft_tick_duration_seconds",
    "From the end of the newest monitored partition's first ingestion to its diagnosis, by the clock.",
    _PROJECT,
)
TICK_ENDED = Family("updraft_tick_ended_timestamp_seconds", "When that diagnosis was written.", _PROJECT)

FAMILIES: tuple[Family, ...] = (
    STORE_UP,
    PROJECTS,
    DURATION,
    KEPT_BY_FILE,
    INFO,
    ERROR,
    STATE,
    NEEDS_PERSON,
    PARTITION,
    INTERVAL,
    PARTITIONS,
    WANTED,
    ROWS,
    QUARANTINED,
    KEPT_OUT,
    CHAMPION,
    CHAMPION_SINCE,
    TRAINED,
    BUDGET,
    BUDGET_LEFT,
    LOSS,
    LOSS_PARTITION,
    LOSS_AT_PROMOTION,
    FIGURE,
    FIGURE_BEYOND,
    DRIFT,
    DRIFT_THRESHOLD,
    DRIFT_ALARM,
    RELEASES,
    RELEASE_OPENED,
    RELEASE_PARTITIONS,
    EPISODES,
    EPISODE_OPENED,
    STOPPED,
    UNDELIVERED,
    UNDELIVERED_SINCE,
    INCIDENTS,
    DECISIONS,
    VERIFIED,
    CHAIN_WHOLE,
    TICK_DURATION,
    TICK_ENDED,
)
"""In the order of an answer."""


def scrape(
    names: Sequence[str],
    read: Callable[[str], Loop | BrokenProject],
    store: Callable[[], Store],
    home: Path,
    now: datetime,
) -> str:
    """One answer to a scraper. What goes wrong with a project is that project's error alone.

    :param names: of the projects.
    :param read: gives the loop of one, or what is wrong with its folder.
    :param store: opens the store.
    :param home: the deployment's folder on this machine.
    :param now: of the clock.
    """
    begun = time.monotonic()
    up = _answers(store)
    samples = [sample for name in names for sample in _project(name, read, now)] if up else []
    samples += [
        Sample(STORE_UP, (), up),
        Sample(PROJECTS, (), len(names)),
        Sample(KEPT_BY_FILE, (), untold.waiting(home)),
        Sample(DURATION, (), time.monotonic() - begun),
    ]
    return exposition(FAMILIES, samples)


def _answers(store: Callable[[], Store]) -> bool:
    """Asked once, before two hundred projects wait for a store that is away."""
    try:
        with store().engine.connect() as connection:
            connection.execute(sa.select(1))
    except (sa.exc.SQLAlchemyError, SettingsError) as error:
        log.error("Metrics of no project can be read, the store does not answer: %s", error)
        return False
    return True


def _project(name: str, read: Callable[[str], Loop | BrokenProject], now: datetime) -> list[Sample]:
    """Everything of a project, or that it could not be read."""
    broken, failed = False, False
    samples: list[Sample] = []
    try:
        project = read(name)
        broken = isinstance(project, BrokenProject)
        if not isinstance(project, BrokenProject):
            samples = list(project_samples(project, now))
    except Exception:  # whatever it is: the other projects are still watched, and this one's error is told
        log.exception("%s: its metrics could not be read", name)
        samples, failed = [], True
    errors = {"folder": broken, "reading": failed}
    return [*samples, *(Sample(ERROR, (name, cause), value) for cause, value in errors.items())]


def project_samples(loop: Loop, now: datetime) -> Iterator[Sample]:
    """What is known of one project. What is read does not grow with its history.

    :param now: of the clock.
    """
    # Not the fleet's row: the words for people that it has take as long as all the rest.
    situation, spec, name = read_situation(loop, now), loop.spec, loop.name
    current = situation.state
    yield Sample(INFO, (name, spec.owner, spec.task, spec.loss_metric.name), 1)
    for state in STATES:
        yield Sample(STATE, (name, state), current == state)
    yield Sample(NEEDS_PERSON, (name,), current in STATES_THAT_NEED_A_PERSON)
    yield Sample(STOPPED, (name,), situation.standing.stopped is not None)
    yield from _of_data(loop, situation)
    yield from _of_model(loop, situation)
    yield from _of_releases(loop, situation)
    yield from _of_alerts(loop)
    yield from _of_chain(loop)


def _of_data(loop: Loop, situation: Situation) -> Iterator[Sample]:
    name, standing = loop.name, situation.standing
    steps = {"ingested": standing.newest, "published": standing.published, "monitored": standing.monitored}
    for step, key in steps.items():
        if key is not None:
            yield Sample(PARTITION, (name, step), tick_of(key).timestamp())
    if standing.newest is not None:
        interval = next_tick(loop.spec, standing.newest) - tick_of(standing.newest)
        yield Sample(INTERVAL, (name,), interval.total_seconds())
    for state, partitions in loop.store.partition_counts(name).by_state.items():
        yield Sample(PARTITIONS, (name, state), partitions)
    wanted = dict.fromkeys(_FATES, 0)
    for unpublished in situation.unpublished:
        wanted[unpublished.fate] += len(unpublished.keys)
    for fate, number in wanted.items():
        yield Sample(WANTED, (name, fate), number)
    if (rows := newest_rows(loop.store, name, standing.newest)) is not None:
        yield Sample(ROWS, (name, "published"), rows.published)
        yield Sample(ROWS, (name, "quarantined"), rows.quarantined)
        if read := rows.published + rows.quarantined:
            yield Sample(QUARANTINED, (name,), rows.quarantined / read)
    if situation.kept_out.of:
        yield Sample(KEPT_OUT, (name,), situation.kept_out.partitions / situation.kept_out.of)


def _of_model(loop: Loop, situation: Situation) -> Iterator[Sample]:
    name, store, spec, serving = loop.name, loop.store, loop.spec, situation.serving
    if serving.champion is not None:
        yield Sample(CHAMPION, (name, serving.champion), 1)
        if (helped := store.learnt_at(name, [serving.champion]).get(serving.champion)) is not None:
            yield Sample(TRAINED, (name, "helped"), tick_of(helped).timestamp())
    if serving.since is not None:
        yield Sample(CHAMPION_SINCE, (name,), tick_of(serving.since).timestamp())
    if (newest := store.newest_training(name)) is not None:
        yield Sample(TRAINED, (name, "newest"), tick_of(newest).timestamp())
    retrain, left = spec.monitoring.remedies.retrain, trainings_left(situation)
    if retrain is not None and left is not None:
        yield Sample(BUDGET, (name,), retrain.per_year)
        yield Sample(BUDGET_LEFT, (name,), left)
    for point in loss_points(store.performance(name, newest=1), spec.loss_metric.name):
        yield Sample(LOSS, (name,), point.loss)
        yield Sample(LOSS_PARTITION, (name,), tick_of(point.key).timestamp())
    if (promised := loss_at_promotion(store, spec, serving.champion)) is not None:
        yield Sample(LOSS_AT_PROMOTION, (name,), promised)
    for figures in series(store.figures(name, newest=1), spec.monitoring.figures):
        [newest_figure] = figures.points
        if newest_figure.value is not None:
            yield Sample(FIGURE, (name, figures.name), newest_figure.value)
        yield Sample(FIGURE_BEYOND, (name, figures.name), newest_figure.breach)
    if (drift := drift_now(store, name)) is not None:
        yield Sample(DRIFT_ALARM, (name,), drift.alarm)
        if drift.score is not None:
            yield Sample(DRIFT, (name,), drift.score)
        if drift.threshold is not None:
            yield Sample(DRIFT_THRESHOLD, (name,), drift.threshold)


def _of_releases(loop: Loop, situation: Situation) -> Iterator[Sample]:
    name, releases = loop.name, situation.standing.releases
    for state in OPEN_RELEASE:
        yield Sample(RELEASES, (name, state), sum(release.row.state == state for release in releases))
    for release in releases:
        row = release.row
        yield Sample(
            RELEASE_OPENED, (name, row.id, row.version, row.lane, row.state), tick_of(row.opened_at).timestamp()
        )
        yield Sample(RELEASE_PARTITIONS, (name, row.id), release.partitions)
    episodes = loop.store.episodes(name, states=("due", "started"))
    for progress in ("due", "started"):
        yield Sample(EPISODES, (name, progress), sum(episode.state == progress for episode in episodes))
    if episodes:
        yield Sample(EPISODE_OPENED, (name,), tick_of(episodes[0].opened_at).timestamp())


def _of_alerts(loop: Loop) -> Iterator[Sample]:
    undelivered = outbox.count_undelivered(loop.store.engine, loop.name)
    yield Sample(UNDELIVERED, (loop.name,), undelivered.messages)
    yield Sample(INCIDENTS, (loop.name,), undelivered.incidents)
    if undelivered.oldest is not None:
        yield Sample(UNDELIVERED_SINCE, (loop.name,), undelivered.oldest.timestamp())


def _of_chain(loop: Loop) -> Iterator[Sample]:
    name, store = loop.name, loop.store
    yield Sample(DECISIONS, (name,), store.last_seq(name))
    if (audit := last_audit(store, name)) is not None:
        yield Sample(VERIFIED, (name,), audit.at.timestamp())
        yield Sample(CHAIN_WHOLE, (name,), audit.whole)
    for diagnosis in store.newest_decisions(name, ("diagnose",), 1):
        ended, ingested = datetime.fromisoformat(diagnosis.written_at), store.ingested_at(name, diagnosis.key)
        yield Sample(TICK_ENDED, (name,), ended.timestamp())
        if ingested is not None and ended >= ingested:
            yield Sample(TICK_DURATION, (name,), (ended - ingested).total_seconds())
