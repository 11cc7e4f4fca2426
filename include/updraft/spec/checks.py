"""What the parts of a spec ask of each other; each check is silent where a key that it reads is broken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from updraft.spec.cleaning import Filled
from updraft.spec.cleaning import complaints as complaints_of_steps
from updraft.spec.cleaning import shown as steps_shown
from updraft.spec.document import Document, Path_, dotted
from updraft.spec.label import class_values, published_private, read_label
from updraft.spec.model import FixedLimit, ProjectSpec
from updraft.spec.problems import Problem
from updraft.spec.search import space_complaints
from updraft.spec.source_checks import complaints as source_complaints
from updraft.spec.trainers import TRAINERS, complaints, unlearnt
from updraft.spec.validation import Validated, at


def cross_check(document: Document, validated: Validated[ProjectSpec], folder: str) -> tuple[Problem, ...]:
    """Every problem between the parts of what is sound; ``folder`` is the name that the spec must bear."""
    if validated.spec is None:
        return ()
    checks = _Checks(document, validated.spec, validated.broken)
    problems = [*checks.name(folder), *checks.time(), *checks.sources(), *checks.columns(), *checks.classes()]
    problems += [*checks.training(), *checks.trainers(), *checks.search(), *checks.metrics(), *checks.remedies()]
    problems += [*checks.cleaning()]
    return tuple(problems)


class _Checks:
    def __init__(self, document: Document, spec: ProjectSpec, broken: frozenset[Path_]) -> None:
        self._document = document
        self._spec = spec
        self._broken = broken
        raw = at(document.data, ("data", "sources"))
        self._row_source = str(next(iter(raw))) if isinstance(raw, dict) and raw else next(iter(spec.data.sources))

    def _sound(self, *paths: Path_) -> bool:
        return not any(_touch(path, broken) for path in paths for broken in self._broken)

    def _problem(self, path: Path_, message: str, value: Any = None, allowed: tuple[str, ...] = ()) -> Problem:
        return self._document.problem(path, message, value, allowed)

    def name(self, folder: str) -> Iterator[Problem]:
        if self._sound(("name",)) and self._spec.name != folder:
            yield self._problem(("name",), f"must be the folder's name, {folder}", self._spec.name, (folder,))

    def time(self) -> Iterator[Problem]:
        data, schedule, start, end = self._spec.data, ("data", "schedule"), ("data", "start"), ("data", "end")
        wrong = wrong_cron(data.schedule) if self._sound(schedule) else None
        if wrong:
            yield self._problem(schedule, wrong, data.schedule)
        if data.end is None or not self._sound(start, end):
            return
        if data.end <= data.start:
            yield self._problem(end, f"must be after data.start ({data.start})", data.end)
        elif not wrong and self._sound(schedule) and not _ticks_between(data.schedule, data.start, data.end):
            message = f"closes no partition: data.schedule {data.schedule!r} has no tick after {data.start} until then"
            yield self._problem(end, message, data.end)

    def sources(self) -> Iterator[Problem]:
        row = self._row_source
        for name, source in self._spec.data.sources.items():
            here: Path_ = ("data", "sources", name)
            if name == row:
                if source.event_time is None and self._sound((*here, "event_time")):
                    message = (
                        "needs event_time, the column whose time puts a row into its partition: it is the row source"
                    )
                    yield self._problem(here, message)
                if source.join and self._sound((*here, "join")):
                    message = (
                        "is the row source (the first one), which joins nothing; remove join or put it further down"
                    )
                    yield self._problem((*here, "join"), message, source.join)
            elif not source.join and self._sound((*here, "join")):
                yield self._problem(here, f"needs join, the columns that it joins {row} by")
            for key, message, value in source_complaints(source, is_row_source=name == row):
                path: Path_ = (*here, key) if key else here
                if self._sound(path, (*here, "type")):
                    yield self._problem(path, message, value)

    def columns(self) -> Iterator[Problem]:
        data, key = self._spec.data, ("data", "key")
        lists: dict[Path_, tuple[str, ...]] = {
            key: data.key, ("data", "outcomes"): data.outcomes, ("data", "private"): data.private
        }  # fmt: skip
        for name, source in data.sources.items():
            lists["data", "sources", name, "join"] = source.join
            lists["data", "sources", name, "columns"] = source.columns
        slices = self._spec.gates.slices
        if slices:
            lists["gates", "slices", "by"] = slices.by
        if fairness := self._spec.gates.fairness:
            lists["gates", "fairness", "by"] = fairness.by
        for path, columns in lists.items():
            for column in sorted({name for name in columns if columns.count(name) > 1}) if self._sound(path) else ():
                yield self._problem(path, f"names column {column} twice", list(columns))
        yield from self._outcomes(lists)
        yield from self._times()
        yield from self._aggregates()
        yield from self._label()

    def _aggregates(self) -> Iterator[Problem]:
        """What is private is not added up, and what is known only later not either."""
        data = self._spec.data
        for name, source in data.sources.items():
            path: Path_ = ("data", "sources", name, "aggregate")
            if not self._sound(path, ("data", "private"), ("data", "outcomes")):
                continue
            for column, functions in source.aggregate.items():
                if {column, f"{name}_{column}"} & set(data.private) and set(functions) - {"count"}:
                    yield self._problem(
                        path, f"publishes private column {column}; of it there is `count` alone", column
                    )
                if column in data.outcomes:
                    yield self._problem(path, f"{column} is in data.outcomes, which are not known at the event", column)

    def _outcomes(self, lists: dict[Path_, tuple[str, ...]]) -> Iterator[Problem]:
        """What is known only afterwards may name no row, join nothing, slice nothing and tell no time."""
        here: Path_ = ("data", "outcomes")
        why: dict[Path_, str] = {
            ("data", "key"): "the key names a row at prediction time",
            ("gates", "slices", "by"): "slices are cut from what is known at prediction time",
            ("gates", "fairness", "by"): "groups are made of what is known at prediction time",
        }
        for path, columns in lists.items():
            if path == here or path[-1] in ("private", "columns") or not self._sound(path, here):
                continue
            reason = why.get(path, "sources are joined before the outcome is known")
            for column in dict.fromkeys(columns):
                if column in self._spec.data.outcomes:
                    yield self._problem(path, f"{column} is in data.outcomes, and {reason}", list(columns))
                elif path[0] == "gates" and self._makes_the_label(column):
                    yield self._problem(path, f"{column} is what the label is made of, and {reason}", list(columns))

    def _makes_the_label(self, column: str) -> bool:
        """Whether the label's expression reads a column; it is parsed only where the name stands in it at all."""
        expr = self._spec.data.label.expr
        return column.lower() in expr.lower().replace('""', '"') and column.lower() in read_label(expr).names

    def _times(self) -> Iterator[Problem]:
        for name, source in self._spec.data.sources.items():
            path: Path_ = ("data", "sources", name, "event_time")
            for role, columns in (("outcomes", self._spec.data.outcomes), ("private", self._spec.data.private)):
                if source.event_time in columns and self._sound(path, ("data", role)):
                    message = f"is in data.{role}; the time that puts a row into its partition must stay as it is"
                    yield self._problem(path, message, source.event_time)

    def _label(self) -> Iterator[Problem]:
        """Labels are published as they are, pseudonyms or not."""
        path: Path_ = ("data", "label", "expr")
        if self._sound(path, ("data", "private"), ("data", "sources")):
            expr = self._spec.data.label.expr
            if message := published_private(expr, self._spec.data):
                yield self._problem(path, message, expr)

    def cleaning(self) -> Iterator[Problem]:
        """What names a row, or its time, stays as it is written; and the steps of a column follow from each other."""
        data, here = self._spec.data, ("data", "clean")
        row_source, *others = data.sources
        kept = {
            "is in data.key": set(data.key),
            "is in data.private, whose values become pseudonyms as they are written": set(data.private),
            "is release.cluster": {self._spec.release.cluster},
            "is an event_time, which puts a row into its partition; time_format says how it is written": {
                str(source.event_time if name == row_source else f"{name}_{source.event_time}")
                for name, source in data.sources.items()
            },
            "joins sources, whose values are compared as they are written": {
                joined
                for name in others
                for column in data.sources[name].join
                for joined in (column, f"{name}_{column}")
            },
        }
        for column, steps in data.clean.items():
            if not self._sound((*here, column)):
                continue
            for why in (why for why, columns in kept.items() if column in columns):
                yield self._problem((*here, column), f"{why}, and is not cleaned")
            for position, message in complaints_of_steps(steps):
                yield self._problem((*here, column, position), message, steps_shown(steps[position]))
            for position, step in enumerate(steps):
                if isinstance(step, Filled) and step.flag and column in data.outcomes:
                    message = "flag would tell at prediction time which outcomes are missing; leave it out"
                    yield self._problem((*here, column, position), message)

    def classes(self) -> Iterator[Problem]:
        """A list of classes belongs to tasks that have one."""
        label, here = self._spec.data.label, ("data", "label")
        if not self._sound(("task",), (*here, "classes")):
            return
        complaints = self._spec.task_type.complaints(label.classes, missing_is_zero=label.missing == "zero")
        values = {"classes": list(label.classes), "missing": label.missing}
        for key, message in complaints:
            yield self._problem((*here, key), message, values[key] or None)
        values_of_classes = class_values(label.classes)
        twice = [value for value in values_of_classes if values_of_classes.count(value) > 1]
        for name in dict.fromkeys(twice):
            yield self._problem((*here, "classes"), f"names {name} twice", list(label.classes))

    def training(self) -> Iterator[Problem]:
        holdout, path = self._spec.release.refresh.holdout, ("release", "refresh", "holdout")
        for key, value in (("window", self._spec.training.window), ("first_after", self._spec.training.first_after)):
            if value <= holdout and self._sound(path, ("training", key)):
                message = f"must be above {dotted(path)} ({holdout}): what is held out cannot be learned from"
                yield self._problem(("training", key), message, value)

    def trainers(self) -> Iterator[Problem]:
        for index, trainer in enumerate(self._spec.training.trainers):
            path: Path_ = ("training", "trainers", index)
            if not self._sound((*path, "name")):
                continue
            for name, message, allowed in complaints(trainer.name, trainer.params):
                if self._sound((*path, "params", name)):
                    yield self._problem((*path, "params", name), message, trainer.params[name], allowed)
            if not self._sound((*path, "params"), ("task",), ("data", "label")):
                continue
            if why := unlearnt(trainer.name, trainer.params, self._spec.task_type):
                yield self._problem(path, f"{why} (task {self._spec.task})", trainer.name)
            workers = self._spec.training.compute.workers
            if workers > 1 and not TRAINERS[trainer.name].workers and self._sound(("training", "compute")):
                several = ", ".join(name for name in TRAINERS if TRAINERS[name].workers)
                message = (
                    f"learns in one process, and training.compute.workers is {workers}; {several} learn in several"
                )
                yield self._problem((*path, "name"), message, trainer.name)

    def search(self) -> Iterator[Problem]:
        search, trainers, here = self._spec.training.search, self._spec.training.trainers, ("training", "search")
        named = {trainer.name: trainer for trainer in trainers}
        if search is None or not self._sound(("training", "trainers"), (*here, "trainer")):
            return
        chosen = named.get(search.trainer or trainers[0].name)
        if chosen is None:
            message = "is not one of training.trainers"
            yield self._problem((*here, "trainer"), message, search.trainer, tuple(named))
            return
        for keys, message, value, allowed in space_complaints(chosen.name, chosen.params, search.space):
            if self._sound((*here, "space", *keys)):
                yield self._problem((*here, "space", *keys), message, value, allowed)

    def metrics(self) -> Iterator[Problem]:
        if not self._sound(("task",)):
            return
        task, metrics, losses = self._spec.task, self._spec.task_type.metric_names, self._spec.task_type.loss_names
        release = self._spec.release.metric
        if release not in losses and self._sound(("release", "metric")):
            yield self._problem(("release", "metric"), f"does not suit task {task}", release, losses)
        for metric in self._spec.gates.metrics:
            if metric not in metrics and self._sound(("gates", metric)):
                yield self._problem(("gates", metric), f"does not suit task {task}", None, metrics)
        rates, fairness = tuple(rate.name for rate in self._spec.task_type.group_rates), self._spec.gates.fairness
        for index, rate in enumerate(fairness.metrics if fairness else ()):
            where: Path_ = ("gates", "fairness", "metrics", index)
            if rate not in rates and self._sound(where):
                why = "" if rates else ", whose scores select no row: groups are compared where labels are 0 and 1"
                yield self._problem(where, f"does not suit task {task}{why}", rate, rates)
        retrain = self._spec.monitoring.remedies.retrain
        for index, trigger in enumerate(retrain.on if retrain else ()):
            path: Path_ = ("monitoring", "remedies", "retrain", "on", index)
            if isinstance(trigger, FixedLimit) and trigger.metric not in metrics and self._sound(path):
                yield self._problem(path, f"does not suit task {task}", trigger.metric, metrics)

    def remedies(self) -> Iterator[Problem]:
        retrain, path = self._spec.monitoring.remedies.retrain, ("monitoring", "remedies", "retrain")
        if retrain and retrain.every is None and not retrain.on and self._sound(path):
            message = "never trains: every is null and on is empty; give one of them"
            yield self._problem(path, message)


def _touch(path: Path_, other: Path_) -> bool:
    """Whether one path holds the other."""
    shorter = min(len(path), len(other))
    return path[:shorter] == other[:shorter]


def wrong_cron(schedule: str) -> str | None:
    """What is wrong with a schedule, or None."""
    from croniter import CroniterError, croniter

    if len(schedule.split()) != 5:
        return 'must be a cron expression of five fields (minute hour day month weekday), such as "0 5 * * 1"'
    try:
        croniter(schedule, datetime(2000, 1, 1, tzinfo=UTC)).get_next(datetime)
    except (CroniterError, ValueError) as error:
        return f"is not a cron expression that ever ticks: {error}"
    return None


def _ticks_between(schedule: str, start: date, end: date) -> bool:
    """Whether a tick lies in (start, end], so that there is a partition; see ``updraft.data.partitions``."""
    from croniter import croniter

    first: datetime = croniter(schedule, datetime.combine(start, datetime.min.time(), UTC)).get_next(datetime)
    return first - datetime.combine(end, datetime.min.time(), UTC) <= timedelta(0)
