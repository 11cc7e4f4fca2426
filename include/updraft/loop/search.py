"""A search for better parameters, step by step: plan it, begin and end its trials, choose.

A trial is an ordinary training of the proof alone. Its window ends before the holdout that the winner will be proved on,
so no trial sees that; its loss is the lowest one on the rows that validate, every seventh cluster of its own window.

Trial ``n`` learns from the trials up to ``n - parallel``, and begins when those have ended: so what is tried depends on the
project, the data and the seed, and not on which of two trials that run side by side ends first, or is killed on the way.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from updraft.errors import TrainingError
from updraft.jobs.contract import TrainingRequest, TrainingResult, Trial
from updraft.lake.places import trial_run
from updraft.loop.context import Loop
from updraft.loop.plan import plan_training
from updraft.loop.train import collect, request_for
from updraft.search.pruning import stop_above
from updraft.search.sampling import Tried, distributions, inside, suggest
from updraft.search.study import Study, TrialRow
from updraft.spec.search import Search
from updraft.spec.trainers import TRAINERS, Value


class SearchPlan(BaseModel):
    """A search, fixed when it began: a project that changes meanwhile changes nothing in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    search: Search
    seed: int
    request: TrainingRequest
    """Of every trial, but for its parameters and its place; with the parameters that the project trains with now."""
    holdout: tuple[str, ...]
    """What no trial sees."""
    planned_at: float
    """Seconds since 1970, for the timeout."""
    reason: str = ""

    @property
    def numbers(self) -> list[int]:
        """The trials' numbers."""
        return list(range(self.search.trials))

    @property
    def over(self) -> bool:
        """Whether no further trial starts."""
        limit = self.search.timeout
        return limit is not None and time.time() > self.planned_at + limit.total_seconds()


@dataclass(frozen=True)
class Waits:
    """A trial that cannot begin yet, and the trials that it waits for."""

    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Ended:
    """What became of a trial."""

    number: int
    params: dict[str, Value]
    """Those that the search chose; empty for the first trial."""
    loss: float
    rounds: int
    """Of its curve: the round at which it was given up, or stopped."""
    pruned: bool
    mlflow_run_id: str | None

    @property
    def words(self) -> str:
        """One line for a person."""
        tried = ", ".join(f"{name} {shown(value)}" for name, value in self.params.items()) or "as now"
        end = f"given up at round {self.rounds}" if self.pruned else f"{self.loss:.5f}"
        return f"{self.number}: {tried}: {end}"


def shown(value: Value) -> str:
    """A parameter's value as a person reads it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plan_search(
    loop: Loop,
    run: str,
    key: str | None,
    *,
    trials: int | None = None,
    reason: str = "",
) -> SearchPlan:
    """Plan a search, or take up the plan that the run has already.

    :param key: the partition at whose tick it happens; the newest published one when None.
    :param trials: in place of the project's number.
    :raises TrainingError: when the project asks for no search, or there is nothing to learn from.
    """
    if loop.store.run_record(loop.name, run, "search") is not None:
        return plan_of(loop, run)
    search = loop.spec.training.search
    if search is None:
        raise TrainingError(f"{loop.name}: training.search is not set; say there which parameters to try")
    if trials is not None:
        search = _with_trials(loop.name, search, trials)
    newest = loop.store.newest_partition(loop.name)
    if newest is None:
        raise TrainingError(f"{loop.name}: no partition is published yet; {loop.name}.ingest comes first")
    plan = plan_training(loop, key or newest, trainer=search.trainer)
    request = request_for(loop, plan, run).model_copy(
        update={
            "window": plan.window[: -len(plan.holdout)],
            "holdout": (),
            "workers": 1,  # trials run side by side instead
            "experiment": f"{loop.name}.search",
            "tags": {"updraft.search": run},
        }
    )
    search_plan = SearchPlan(
        run=run,
        search=search,
        seed=loop.spec.training.seed if search.seed is None else search.seed,
        request=request,
        holdout=plan.holdout,
        planned_at=time.time(),
        reason=reason,
    )
    with closing(open_study(loop, run)):  # its tables are there before the trials begin side by side
        loop.store.record_feature_code(loop.name, loop.features.sha256, loop.features.source)
        kept = loop.store.record_run(loop.name, run, "search", search_plan.model_dump(mode="json"))
    return SearchPlan.model_validate_json(json.dumps(kept))


def _with_trials(project: str, search: Search, trials: object) -> Search:
    """The search with the number of trials that a form asks for.

    :raises TrainingError: when it is none that project.yaml could ask for.
    """
    try:
        return Search.model_validate({**search.model_dump(), "trials": trials})
    except ValidationError as error:
        raise TrainingError(f"{project}: trials = {trials!r:.80}: {error.errors()[0]['msg'].lower()}") from error


def plan_of(loop: Loop, run: str) -> SearchPlan:
    """The plan of a search.

    :raises TrainingError: when it was not planned yet.
    """
    kept = loop.store.run_record(loop.name, run, "search")
    if kept is None:
        raise TrainingError(f"{run}: this search has no plan; the task plan_search comes first")
    return SearchPlan.model_validate_json(json.dumps(kept))


def open_study(loop: Loop, run: str) -> Study:
    """The study of a search in the store."""
    return Study(loop.store.engine, f"{loop.name}:{run}")


def begin_trial(loop: Loop, run: str, number: int) -> str | Waits | None:
    """The URL of a trial's request, written when it is new; what it waits for; or None when the search is out of time.

    A trial that has a request keeps it: one that was killed goes on from its checkpoint.
    """
    plan, trial = plan_of(loop, run), loop.training(trial_run(run, number))
    space = distributions(plan.request.trainer, plan.search.space)
    with closing(open_study(loop, run)) as study:
        rows = study.rows()
        if not trial.is_prepared:
            if plan.over:
                study.give_up(number, f"the search's timeout ({plan.search.timeout}) had passed")
                return None
            before = range(max(0, number - plan.search.parallel + 1))
            missing = [trial for trial in before if trial not in rows or rows[trial].state == "running"]
            if missing:
                return Waits(tuple(missing))
            earlier = [rows[trial] for trial in before]
            params = dict(plan.request.params)
            if number > 0:
                tried = [result for row in earlier if (result := _tried(row)) is not None]
                params |= suggest(space, tried, seed=plan.seed, number=number, trials=plan.search.trials)
            request = _trial_request(loop, plan, number, params, _limits(loop, plan, earlier))
            trial.keep_request(request)
        params = dict(trial.request.params)
        study.begin(number, params, inside(params, plan.search.space), space)
    return trial.write_request()


def _tried(row: TrialRow) -> Tried | None:
    """A trial as the sampler takes it; None for one that brings it nothing."""
    if row.loss is None or row.state not in ("done", "pruned") or not row.searched:
        return None
    return Tried(row.searched, row.loss, row.rounds if row.state == "pruned" else None)


def _limits(loop: Loop, plan: SearchPlan, earlier: list[TrialRow]) -> tuple[float | None, ...]:
    if not plan.search.prune:
        return ()
    done = [loop.training(trial_run(plan.run, row.number)).result for row in earlier if row.state in ("done", "pruned")]
    after = int(TRAINERS[plan.request.trainer].value(plan.request.params, "early_stopping"))
    return stop_above([curve_of(result) for result in done], after)


def curve_of(result: TrainingResult) -> list[float]:
    """Validation loss after each round."""
    return next(iter(result.curve.values()))


def _trial_request(
    loop: Loop, plan: SearchPlan, number: int, params: Mapping[str, Value], limits: tuple[float | None, ...]
) -> TrainingRequest:
    name = trial_run(plan.run, number)
    changed = {
        "params": dict(params),
        "trial": Trial(stop_above=limits),
        "output_url": loop.lake.training(name).url,
        "run_name": name,
        "tags": {**plan.request.tags, "updraft.run": name, "updraft.trial": str(number)},
    }
    return plan.request.model_copy(update=changed)


def end_trial(loop: Loop, run: str, number: int) -> Ended:
    """Take a trial's result, verified, and note it in the study.

    :raises TrainingError: when there is no result.
    """
    result = collect(loop, trial_run(run, number))
    if result is None:
        raise TrainingError(f"{trial_run(run, number)}: the trial left no result; clear its task to run it again")
    with closing(open_study(loop, run)) as study:
        study.end(number, curve_of(result), pruned=result.pruned)
        return ended(study.rows()[number], result, plan_of(loop, run))


def ended(row: TrialRow, result: TrainingResult, plan: SearchPlan) -> Ended:
    """A trial with its result."""
    curve = curve_of(result)
    chosen = {name: row.params[name] for name in sorted(plan.search.space)} if row.number > 0 else {}
    return Ended(row.number, chosen, min(curve), len(curve), result.pruned, result.mlflow_run_id)


def give_up_trials(loop: Loop, run: str, why: Mapping[int, str]) -> None:
    """Note trials that bring nothing, so that none waits for them; those that have ended stay as they are."""
    if why:
        with closing(open_study(loop, run)) as study:
            for number, words in why.items():
                study.give_up(number, words)
