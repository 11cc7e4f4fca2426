"""Where the trials of a search are kept: an Optuna study in a schema of its own in the store's PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from updraft.errors import StoreError
from updraft.search.sampling import quiet
from updraft.spec.trainers import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

SCHEMA = "search"
_NUMBER, _PARAMS, _WHY = "updraft.number", "updraft.params", "updraft.why"
_SHOWN = 20
"""Points of a loss curve that are kept in the study; the whole curve is in the trial's result."""
TrialState = Literal["running", "done", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRow:
    """One trial of a study."""

    number: int
    state: TrialState
    params: dict[str, Value]
    """All parameters that it trains with."""
    searched: dict[str, Value]
    """Those that the search chose; empty for the first one, whose parameters may lie outside of the space."""
    loss: float | None
    rounds: int | None
    """The last round that is known of it."""
    why: str = ""
    """Why it failed."""


class Study:
    """The trials of one search. Writes are by the trial's number, and doing one twice changes nothing.

    Optuna numbers trials in the order of their writing; ours are the numbers of the tasks, and stand beside them.
    """

    def __init__(self, engine: sa.Engine, name: str) -> None:
        """Open the study, made when it is not there.

        :param engine: of the store.
        :raises StoreError: when the store is not PostgreSQL.
        """
        import optuna

        if engine.dialect.name != "postgresql":
            raise StoreError(f"a search needs a store in PostgreSQL, and this one is {engine.dialect.name}")
        quiet()
        self._engine, self._name = engine, name
        with self._alone("tables"):  # Optuna makes them when it does not find them: of two at once, one would fail
            with engine.begin() as connection:  # IF NOT EXISTS asks for the right to create also where it is there
                if SCHEMA not in sa.inspect(connection).get_schema_names():
                    connection.execute(sa.schema.CreateSchema(SCHEMA))
            self._storage = optuna.storages.RDBStorage(
                engine.url.render_as_string(hide_password=False),
                engine_kwargs={
                    "connect_args": {"options": f"-csearch_path={SCHEMA}"},
                    "pool_size": 1,
                    "pool_pre_ping": True,
                },
            )
            self._study = optuna.create_study(
                storage=self._storage, study_name=name, direction="minimize", load_if_exists=True
            )

    def close(self) -> None:
        """Give the connections back."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        with self._engine.begin() as connection:
            key = sa.func.hashtext(f"updraft-search:{what}")
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
            yield

    def rows(self) -> dict[int, TrialRow]:
        """The trials by their number."""
        return {row.number: row for row in map(_row, self._trials().values())}

    def _trials(self) -> dict[int, FrozenTrial]:
        return {trial.user_attrs[_NUMBER]: trial for trial in self._study.get_trials(deepcopy=False)}

    def begin(
        self,
        number: int,
        params: Mapping[str, Value],
        searched: Mapping[str, Value] | None,
        space: Mapping[str, BaseDistribution],
    ) -> None:
        """Note that a trial runs with these parameters; one that runs or has ended stays as it is, one that failed begins anew.

        :param searched: those of the space; None when they do not lie in it.
        """
        from optuna.trial import TrialState, create_trial

        trial = create_trial(
            state=TrialState.RUNNING,
            params=dict(searched or {}),
            distributions=dict(space) if searched else {},
            user_attrs={_NUMBER: number, _PARAMS: dict(params)},
        )
        with self._alone(self._name):
            noted = self._trials().get(number)
            if noted is None or noted.state == TrialState.FAIL:  # the later one of a number is the one that counts
                self._study.add_trial(trial)

    def end(self, number: int, curve: Sequence[float], *, pruned: bool) -> None:
        """Note a trial's loss: the lowest of its curve, or that of the round at which it was given up."""
        from optuna.trial import TrialState

        trial = self._trials()[number]
        if trial.state.is_finished():
            return
        every = max(1, -(-len(curve) // _SHOWN))
        best = min(range(len(curve)), key=lambda at: curve[at])
        trial_id = self._id(trial)
        for at in sorted({*range(every - 1, len(curve), every), best, len(curve) - 1}):
            self._storage.set_trial_intermediate_value(trial_id, at + 1, curve[at])
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        self._study.tell(trial.number, None if pruned else curve[best], state=state, skip_if_finished=True)

    def give_up(self, number: int, why: str) -> None:
        """Note that a trial brings nothing, whether or not it ever ran; one that has ended stays as it is."""
        from optuna.trial import TrialState, create_trial

        with self._alone(self._name):
            trial = self._trials().get(number)
            if trial is None:
                noted = {_NUMBER: number, _PARAMS: {}, _WHY: why}
                self._study.add_trial(create_trial(state=TrialState.FAIL, user_attrs=noted))
            elif not trial.state.is_finished():
                self._storage.set_trial_user_attr(self._id(trial), _WHY, why)
                self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _id(self, trial: FrozenTrial) -> int:
        """The storage's own number of a trial (:mod:`updraft.borrowed`)."""
        study = self._storage.get_study_id_from_name(self._name)
        return int(self._storage.get_trial_id_from_study_id_trial_number(study, trial.number))

    def importance(self) -> dict[str, float]:
        """By how much each searched parameter tells the good trials from the rest (PED-ANOVA, Watanabe et al. 2023); empty with too few."""
        import optuna
        from optuna.trial import TrialState

        done = [
            trial
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if trial.params  # the first one may lie outside of the space
        ]
        names = sorted(done[0].params) if done else []
        if len(done) < 4 or len(names) < 2:
            return {}
        apart = optuna.create_study()
        apart.add_trials(done)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
        shares = optuna.importance.get_param_importances(apart, evaluator=evaluator, params=names)
        return {name: round(float(share), 4) for name, share in shares.items()}


def _row(trial: FrozenTrial) -> TrialRow:
    states: dict[str, TrialState] = {"RUNNING": "running", "COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
    attributes: Mapping[str, Any] = trial.user_attrs
    return TrialRow(
        number=attributes[_NUMBER],
        state=states[trial.state.name],
        params=dict(attributes[_PARAMS]),
        searched=dict(trial.params),
        loss=trial.value,
        rounds=trial.last_step,
        why=str(attributes.get(_WHY, "")),
    )
