"""A project of sixty rows an hour with a history of any length.

Its first hours are played, which gives a champion. What follows is written into the store directly, as ten thousand ticks would have
left it: partitions, predictions, decisions, layers, trainings, releases. The newest hours of it have files of their own, as the next
ticks read them; the older ones share one file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from updraft import files
from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, MARGIN, PARTITION, ROW, SCORE
from updraft.data.partitions import KEY_FORMAT
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels, play
from updraft.monitoring.profiles import profile
from updraft.settings import Settings
from updraft.spec.load import load_project
from updraft.spec.model import Project
from updraft.store import state, tables
from updraft.store.chain import link_hash
from updraft.store.records import Decision, IngestedPartition, TrainingRow
from updraft.store.store import Store

START = datetime(2020, 1, 1, tzinfo=UTC)
PLAYED = 12
"""Hours that are played at the beginning: enough for the first training."""
REAL = 12
"""Of the hours that are written directly, the newest so many have files of their own."""
WINDOW = 80
"""Of the training: as many as a threshold of drift needs."""
TERM = 40
"""Hours for which each version served."""
_EXPECTED: dict[str, Any] = {
    **{"rows": 60, "metric": "log_loss", "value": 0.49, "spread": 0.03, "lower": 0.4, "upper": 0.58, "errors": 20},
    "figures": {"auc": 0.8},
}
"""The estimate of each hour's loss."""
_SPEC = """
name: hours
owner: hours-ml
description: Does it fail within the hour?
task: binary
data:
  schedule: "0 * * * *"
  start: 2020-01-01
  sources:
    events: {type: file, url: "events.csv", event_time: at}
  key: [id]
  label: {expr: "failed > 0", missing: exclude, matures_after: 1h}
  outcomes: [failed]
training:
  window: 80
  first_after: 8
  trainers:
    - {name: xgboost, params: {max_depth: 2, rounds: 10}}
  compute: {backend: local}
gates:
  log_loss: {no_worse_than_champion_by: 0.5}
release:
  metric: log_loss
  margin: 0.5
  confidence: 0.95
  cluster: hour
  refresh: {holdout: 2, shadow: 0, probation: 100000}
  change: {shadow: {at_least: 2, at_most: 12}, approval: required}
monitoring:
  figures: {heat: sum(heat * score)}
  remedies:
    recalibrate: {every: 1}
    retrain: {every: 100000, on: [drift], cooldown: 24, per_year: 365}
alerts:
  slack: {channel: "#hours", on: [failure]}
"""
_FEATURES = '''"""Features of an event."""


def features(rows):
    """Heat and load as they are."""
    return rows[["heat", "load"]]
'''


def project(folder: Path) -> Project:
    """The project, written into a folder."""
    folder = folder / "hours"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(_SPEC)
    (folder / "features.py").write_text(_FEATURES)
    (folder / "expectations.yaml").write_text("events: {}\n")
    return load_project(folder)


def key(hour: int) -> str:
    """Key of an hour's partition."""
    return (START + timedelta(hours=hour + 1)).strftime(KEY_FORMAT)


def events(hour: int) -> pd.DataFrame:
    """The sixty rows of an hour, with their labels."""
    random = np.random.default_rng(hour)
    heat, load = random.normal(0, 1, 60), random.normal(0, 1, 60)
    at = START + timedelta(hours=hour)
    return pd.DataFrame(
        {
            ROW: np.arange(hour * 60, hour * 60 + 60, dtype=np.uint64),
            EVENT_TIME: pd.Timestamp(at) + pd.to_timedelta(np.arange(60), unit="min"),
            CLUSTER: at.strftime("%Y-%m-%dT%H"),
            "heat": heat,
            "load": load,
            LABEL: (random.random(60) < 1 / (1 + np.exp(-1.5 * heat))).astype(float),
        }
    )


def ingested(loop: Loop, hour: int) -> IngestedPartition:
    """An hour's partition with its files: the rows, the labels of the hour before, and the profile."""
    rows = events(hour).drop(columns=LABEL)
    url, sha256 = files.write_parquet_named_by_content(loop.lake.at(f"partitions/{key(hour)}/rows"), rows)
    known = events(hour - 1) if hour else events(0).iloc[:0]
    labels = known[[ROW, EVENT_TIME, CLUSTER, LABEL]].assign(**{PARTITION: key(hour - 1)})
    labels_url, labels_sha256 = files.write_parquet_named_by_content(loop.lake.at(f"labels/{key(hour)}"), labels)
    row = IngestedPartition(
        key(hour), "published", url, sha256, 60, 1, labels_url, {"sources": {}}, None, labels_sha256=labels_sha256
    )
    summary = profile(files.read_parquet(*loop.features_file(row))).as_dict()
    return replace(row, profile={"features_sha256": loop.features.sha256, **summary})


def begin(folder: Path, store: Store) -> tuple[Loop, KeptModels]:
    """A loop on a store that is empty, played up to its first champion."""
    settings = Settings(home=folder, projects=folder, lake=f"file://{folder / 'lake'}", store="", mlflow="", airflow="")
    models = KeptModels()
    loop = Loop(project(folder), settings, store, models)
    for hour in range(PLAYED):
        play(loop, models, ingested(loop, hour))
    if store.serving(loop.name).champion != "1":
        raise AssertionError("the first hours gave no champion")
    return loop, models


def lengthen(loop: Loop, models: KeptModels, hours: int) -> None:
    """Write the history up to an hour into the store, as ticks would have left it.

    In the end a version is on probation since half a term, with the evidence of that time.
    """
    store, name = loop.store, loop.name
    first = store.trainings(name)[0]
    terms = list(range(hours - TERM // 2, PLAYED, -TERM))[::-1]
    versions = {start: str(number) for number, start in enumerate(terms, start=2)}
    models.versions |= dict.fromkeys(versions.values(), models.load("1"))
    shared = ingested(loop, PLAYED)
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in tables.metadata.tables}
    chain = _Chain(store.decisions(name))
    champion, previous = "1", None
    scored = _prediction(loop, models, PLAYED)
    for hour in range(PLAYED, hours):
        now, real = key(hour), hour >= hours - REAL
        if hour in versions:
            champion, previous = versions[hour], champion
            _release(rows, chain, first, name, hour, champion, previous, open_still=hour == terms[-1])
            if hour != terms[-1]:
                _return(chain, name, hour, champion, previous)
        partition = ingested(loop, hour) if real else replace(shared, key=now)
        rows["partitions"].append({"project": name, **asdict(partition)})
        said = _prediction(loop, models, hour) if real else scored
        proving = hour > terms[-1]
        for role, version in {"champion": champion, **({"previous": previous} if proving else {})}.items():
            prediction = {"project": name, "key": now, "role": role, "version": version, "calibration": None, **said}
            rows["predictions"].append(prediction)
            measured = {"project": name, "key": key(hour - 1), "as_of": now, "role": role, "version": version}
            if role == "champion":
                rows["estimates"].append({"project": name, "key": now, "version": version, **_EXPECTED})
            rows["performance"].append({**measured, "rows": 60, "metrics": {"log_loss": 0.5, "auc": 0.8}})
        if proving:
            cluster = {"project": name, "release": f"{name}-v{champion}", "cluster": now, "key": now}
            rows["evidence"].append({**cluster, "rows": 60, "gain": 0.0, "slices": {}})
        if hour % 10 == 0:
            alert = dict.fromkeys(("title", "text", "detail", "does", "needs"), "") | {"links": {}, "state": "sent"}
            rows["alerts"].append({"project": name, "dedup": now, "kind": "drift", "key": now, "shown": 1, **alert})
        layer = {"version": champion, "layer": {"intercept": 0.0, "slope": 1.0}, "trial": None, "reason": "written"}
        chain.add(name, now, "recalibrate", f"{champion}@{now}", layer)
        chain.add(name, now, "diagnose", now, {"diagnosis": None, "episode": None, "refit": None, "drift": {}})
    rows["decisions"] = chain.rows()
    with store.engine.begin() as connection:
        for table, values in rows.items():
            for start in range(0, len(values), 1000):
                connection.execute(sa.insert(tables.metadata.tables[table]), values[start : start + 1000])
        newest = {
            (d.kind, d.body["version"] if d.kind == "recalibrate" else ""): d
            for d in chain.added
            if d.kind in state.CHANGING
        }
        for decision in sorted(newest.values(), key=lambda newest_of_kind: newest_of_kind.seq):
            state.follow(connection, decision)
        counts = {"partitions": hours, "quarantined": hours}
        connection.execute(sa.update(tables.partition_counts).values(**counts))
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("ANALYZE"))  # as PostgreSQL does by itself, some time after so many rows
    store.mark_seen(name, "monitor", key(hours - 1))
    store.mark_seen(name, "remedy", key(hours - 1))


def _return(chain: _Chain, name: str, hour: int, champion: str, previous: str) -> None:
    """A person takes a version back that has just begun to serve, and reinstates it."""
    beside = {"by": "ann", "reason": "a look at the one before"}
    release = f"{name}-v{champion}"
    chain.add(name, key(hour), "roll_back", release, {"version": previous, "previous": champion, **beside})
    chain.add(name, key(hour), "reinstate", f"{release}@2", {"version": champion, "previous": previous, **beside})


class _Chain:
    """The links that follow a chain."""

    def __init__(self, chain: list[Decision]) -> None:
        self.last = chain[-1]
        self.added: list[Decision] = []

    def add(self, project: str, at: str, kind: str, subject: str, body: Mapping[str, Any]) -> None:
        content: dict[str, Any] = {
            "project": project,
            "seq": self.last.seq + 1,
            "key": at,
            "kind": kind,
            "subject": subject,
        }
        link = {**content, "body": dict(body), "previous_sha256": self.last.sha256, "form": 2}
        link["written_at"] = (START + timedelta(seconds=self.last.seq)).isoformat(timespec="microseconds")
        self.last = Decision(**link, sha256=link_hash(link))
        self.added.append(self.last)

    def rows(self) -> list[dict[str, Any]]:
        return [{**asdict(d), "written_at": datetime.fromisoformat(d.written_at)} for d in self.added]


def _release(
    rows: dict[str, list[dict[str, Any]]],
    chain: _Chain,
    first: TrainingRow,
    name: str,
    hour: int,
    version: str,
    against: str,
    *,
    open_still: bool,
) -> None:
    """A training, its promotion, and the end of its probation unless that is open still."""
    now, run = key(hour), f"run-{version}"
    window = [key(one) for one in range(max(hour - WINDOW, 0), hour)]
    trained = replace(first, id=run, key=now, episode=run, version=version, result={**first.result, "window": window})
    rows["trainings"].append(asdict(trained))
    closed = {} if open_still else {"outcome": "superseded", "closed_at": key(hour + TERM)}
    rows["releases"].append(
        {
            **{"id": f"{name}-v{version}", "project": name, "lane": "refresh", "version": version, "against": against},
            **{"state": "probation" if open_still else "closed", "reason": "", "opened_at": now},
            **{"outcome": None, "closed_at": None, **closed},
        }
    )
    diagnosis = {"cause": "age", "remedy": "retrain", "words": "old"}
    episode = {"id": run, "project": name, "opened_at": now, "cause": "age", "remedy": "retrain", "state": "closed"}
    rows["episodes"].append({**episode, "diagnosis": diagnosis, "outcome": "trained", "closed_at": now})
    rows["seen"].append({"project": name, "sensor": f"release:{name}-v{version}", "key": now})
    chain.add(name, now, "accept", run, {"version": version, "lane": "refresh", "gates": {"reasons": []}})
    body = {"version": version, "previous": against, "lane": "refresh", "reason": "it passed", "evidence": {}}
    chain.add(name, now, "promote", f"{name}-v{version}", body)


def _prediction(loop: Loop, models: KeptModels, hour: int) -> dict[str, Any]:
    """What the champion said of an hour, in a file."""
    rows = events(hour)
    margin = models.load("1").margin(rows[["heat", "load"]])
    said = rows[[ROW]].assign(**{MARGIN: margin, SCORE: loop.spec.task_type.link(margin)})
    url, sha256 = files.write_parquet_named_by_content(loop.lake.predictions_stem(key(hour), "champion", "1"), said)
    return {"url": url, "sha256": sha256, "rows": len(rows)}


def ticks(loop: Loop, models: KeptModels, hours: range) -> Iterator[IngestedPartition]:
    """Ingest hours one by one, for somebody who plays each."""
    for hour in hours:
        yield ingested(loop, hour)
