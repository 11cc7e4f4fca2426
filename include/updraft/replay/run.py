"""Play partitions one by one through the real DAGs, and wait after each until the loop has settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError

from updraft.data.partitions import partitions
from updraft.errors import StackError
from updraft.loop.monitor import MONITOR
from updraft.loop.sensor_looks import sensor_name
from updraft.replay.airflow import PATIENCE, AirflowClient
from updraft.spec.model import Project
from updraft.store.records import IngestedPartition
from updraft.store.store import Store

T = TypeVar("T")
STAGES = ("ingest", "score", "monitor", "watch", "train", "release")
WAITING = ("watch", "release")
"""Stages whose runs may wait for the next partition; those of the others end by themselves."""
RUN = "replay__"
"""How the ids of the runs begin that a replay starts: of the past, in which no file comes late."""
PICTURE = ("monitor", "write_report")
"""A task on which nothing else waits: the next partition may come while it is under way. `monitor` takes one partition at a time."""
ACTIVE = ["scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule"]
PAUSE = 0.2
RARELY = 2.0
"""Seconds between looks at what seldom happens: each look costs Airflow's API server 30 ms of its time."""
WORKED = 10.0
"""Seconds after which a step that fails at the store had found it there before."""


@dataclass(frozen=True)
class Change:
    """A change to start on the way: other parameters for `train`, after so many partitions."""

    after: int
    parameters: dict[str, Any]
    reason: str = "a change of parameters, started by the replay"


@dataclass
class Replay:
    """A replay of one project in one deployment. Interrupted and started again, it goes on where it was."""

    project: Project
    store: Store
    airflow: AirflowClient
    tell: Callable[[str, str], None]
    """Called with (partition key, what happened)."""
    timeout: float = 600.0
    """Seconds that one partition may take before it is an error."""
    approve: bool = True
    change: Change | None = None
    _told: int = field(default=0)

    @property
    def dags(self) -> list[str]:
        """Ids of the project's DAGs."""
        return [f"{self.project.name}.{stage}" for stage in STAGES]

    def keys(self, last: int | None = None) -> list[str]:
        """The partitions to play, in order."""
        return [partition.key for partition in partitions(self.project.spec)][:last]

    def play(self, keys: Sequence[str], done: Callable[[int, IngestedPartition], None]) -> None:
        """Play partitions in order; ``done`` is called after each with its number and what ingestion did.

        :raises StackError: when a run fails for good, or a partition does not settle in time.
        """
        self._await_dags()
        self._told = self.store.last_seq(self.project.name)  # what was told before an interruption is not told again
        for number, key in enumerate(keys, start=1):
            row = self._patiently(self._ingest, key)
            if row.state == "published":
                self._patiently(self._settle, key)
            self._patiently(self._report, key)
            if self.change and number == self.change.after:
                self._patiently(self._start_change, key)
                self._patiently(self._settle, key)
                self._patiently(self._report, key)
            done(number, row)
        if keys:
            self._patiently(self._await_pictures, keys[-1])

    def _patiently(self, do: Callable[[str], T], key: str) -> T:
        """Do something that may be done again, while the store may be away: its supervisor brings it back.

        :raises StackError: when it stays away.
        """
        away: float | None = None
        while True:
            started = time.monotonic()
            try:
                return do(key)
            except DBAPIError as error:
                if away is None or time.monotonic() - started > WORKED:
                    away = time.monotonic()
                if time.monotonic() - away > PATIENCE:
                    raise StackError(f"the store has been away for {PATIENCE:.0f} s: {error.orig}") from error
                time.sleep(1.0)

    def _await_dags(self) -> None:
        deadline = time.monotonic() + self.timeout
        while missing := set(self.dags) - set(self.airflow.dags(f"{self.project.name}.%")):
            if time.monotonic() > deadline:
                raise StackError(
                    f"Airflow does not know {sorted(missing)}; see import errors in its UI, or `updraft validate {self.project.name}`"
                )
            time.sleep(0.5)

    def _ingest(self, key: str) -> IngestedPartition:
        dag, run = f"{self.project.name}.ingest", f"{RUN}{key}"
        there = self.store.partition(self.project.name, key)
        if there is not None and (
            there.state != "published" or self.store.seen(self.project.name).get(MONITOR, "") >= key
        ):
            return there
        self.airflow.start(dag, run, partition=key, note="started by updraft replay")
        deadline, cleared, rarely = time.monotonic() + self.timeout, 0, _rarely()
        while time.monotonic() < deadline:
            row = self.store.partition(self.project.name, key)
            if row is not None and (row.state == "published" or self._ended(dag, run)):
                return row
            dag_run = self.airflow.run(dag, run) if rarely() else None
            if row is None and dag_run is not None and dag_run["state"] == "failed":
                if cleared == 2:
                    raise StackError(f"{dag} {run} failed; its log says why: {self.airflow.base}/dags/{dag}/runs/{run}")
                cleared += 1
                self.airflow.clear_failed(dag, run)
            time.sleep(PAUSE)
        raise StackError(
            f"{dag} {run} has not ended within {self.timeout:.0f} s: {self.airflow.base}/dags/{dag}/runs/{run}"
        )

    def _ended(self, dag: str, run: str) -> bool:
        dag_run = self.airflow.run(dag, run)
        return dag_run is not None and dag_run["state"] in ("success", "failed")

    def _settle(self, key: str) -> None:
        deadline, rarely = time.monotonic() + self.timeout, _rarely()
        mended: set[tuple[str, str]] = set()
        while not self.settled(key):
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.project.name}: the loop has not settled at {key} within {self.timeout:.0f} s: {self._unsettled()}"
                )
            if rarely():
                self._answer()
                self._mend(key, mended)
            time.sleep(PAUSE)

    def _await_pictures(self, key: str) -> None:
        """Wait for the last partition's picture.

        :raises StackError: when it does not end.
        """
        deadline = time.monotonic() + self.timeout
        while self.airflow.open_runs([f"{self.project.name}.{PICTURE[0]}"]):
            if time.monotonic() > deadline:
                raise StackError(f"{self.project.name}.{PICTURE[0]} of {key} has not ended within {self.timeout:.0f} s")
            time.sleep(PAUSE)

    def _answer(self) -> None:
        """Answer what waits for a person, as the replay's user; a training that is due may wait for the answer."""
        for task in self.airflow.tasks([f"{self.project.name}.release"], ["deferred"]) if self.approve else ():
            if task["task_id"].startswith("approve_"):
                self.airflow.answer(task, "Approve")

    def settled(self, key: str) -> bool:
        """Nothing queued or running but a picture, and every deferred sensor has stored that it has seen ``key``."""
        name = self.project.name
        seen = self.store.seen(name)
        if (
            seen.get(MONITOR, "") < key
            or seen.get(sensor_name("remedy"), "") < key
            or self.store.episodes(name, states=("due", "started"))
        ):
            return False
        drawn = f"{name}.{PICTURE[0]}"
        ending = self.airflow.open_runs([f"{name}.{stage}" for stage in STAGES if stage not in WAITING])
        if any(run["dag_id"] != drawn or run["partition_key"] != key for run in ending):
            return False
        tasks = [
            task
            for task in self.airflow.tasks(self.dags, ["deferred", *ACTIVE])
            if (task["dag_id"], task["task_id"]) != (drawn, PICTURE[1])
        ]
        if any(task["state"] != "deferred" for task in tasks):
            return False
        waiting = {(task["dag_id"], task["dag_run_id"]) for task in tasks}
        if any((run["dag_id"], run["dag_run_id"]) not in waiting for run in self._open_runs(waiting)):
            return False
        releases = self.store.open_releases(name)
        if any(seen.get(sensor_name("release", row.id), "") < key for row in releases):
            return False
        # Read again: what was written between the first look and Airflow's answers would be missed otherwise.
        return not self.store.episodes(name, states=("due", "started")) and self.store.seen(name) == seen

    def _open_runs(self, waiting: set[tuple[str, str]]) -> list[dict[str, Any]]:
        """Runs that are open, less those of `watch` that were cleared and queue behind the one that waits: one runs at a time."""
        watch = f"{self.project.name}.watch"
        held = any(dag == watch for dag, _ in waiting)
        return [
            run
            for run in self.airflow.open_runs([dag for dag in self.dags if dag != f"{self.project.name}.{PICTURE[0]}"])
            if not (held and run["dag_id"] == watch and run["state"] == "queued")
        ]

    def _mend(self, key: str, mended: set[tuple[str, str]]) -> None:
        """A run that failed because a process was killed is cleared once: what it had done stays done."""
        failed = [
            run
            for run in self.airflow.call(
                "POST", "/dags/~/dagRuns/list", {"dag_ids": self.dags, "states": ["failed"], "page_limit": 100}
            )["dag_runs"]
            if run["dag_id"].rsplit(".", 1)[1] not in ("ingest", "watch")
        ]
        for run in failed:
            name = (run["dag_id"], run["dag_run_id"])
            if name not in mended and self._unfinished(run, key):
                mended.add(name)
                self.tell(key, f"{name[0]} {name[1]} failed; its failed tasks are cleared once")
                self.airflow.clear_failed(*name)

    def _unfinished(self, run: dict[str, Any], key: str) -> bool:
        stage = run["dag_id"].rsplit(".", 1)[1]
        if stage in ("score", "monitor"):
            return run.get("partition_key") == key and self.store.seen(self.project.name).get(MONITOR, "") < key
        if stage == "train":
            return any(
                row.id == run["dag_run_id"] for row in self.store.episodes(self.project.name, states=("due", "started"))
            )
        return any(row.id == run["dag_run_id"] for row in self.store.open_releases(self.project.name))

    def _unsettled(self) -> str:
        open_runs = [f"{run['dag_id']} {run['dag_run_id']} {run['state']}" for run in self.airflow.open_runs(self.dags)]
        return f"open runs {open_runs}; sensors have seen {self.store.seen(self.project.name)}"

    def _start_change(self, key: str) -> None:
        if self.change is None:
            return
        form = {"partition": key, "parameters": self.change.parameters, "reason": self.change.reason}
        run = f"change__{key}"
        if self.airflow.start(f"{self.project.name}.train", run, form=form):
            self.tell(key, f"change started: {self.change.parameters}")
        self._await_change(key, run)

    def _await_change(self, key: str, run: str) -> None:
        """Wait for a change's training; one that failed is cleared once, as a process may have been killed.

        :raises StackError: when it fails again, or does not end.
        """
        dag, deadline, cleared = f"{self.project.name}.train", time.monotonic() + self.timeout, False
        while (dag_run := self.airflow.run(dag, run)) is None or dag_run["state"] != "success":
            if dag_run is not None and dag_run["state"] == "failed":
                if cleared:
                    raise StackError(f"{dag} {run} failed; its log says why: {self.airflow.base}/dags/{dag}/runs/{run}")
                cleared = True
                self.tell(key, f"{dag} {run} failed; its failed tasks are cleared once")
                self.airflow.clear_failed(dag, run)
            if time.monotonic() > deadline:
                raise StackError(f"{dag} {run} has not ended within {self.timeout:.0f} s")
            time.sleep(PAUSE)

    def _report(self, key: str) -> None:
        from updraft.loop.decision_words import in_words

        for decision in self.store.decisions(self.project.name, since=self._told):
            self._told = decision.seq
            if (words := in_words(decision)) is not None:
                self.tell(decision.key, words)


def _rarely() -> Callable[[], bool]:
    """True at most once in so many seconds, and not at first."""
    last = time.monotonic()

    def due() -> bool:
        nonlocal last
        if time.monotonic() - last < RARELY:
            return False
        last = time.monotonic()
        return True

    return due
