"""Estimators of scikit-learn: some of them, by name, each learnt in one piece and kept by skops.

skops writes an object as JSON and arrays, and builds nothing but types of scikit-learn, NumPy and SciPy that it knows to be harmless, and those of
:data:`updraft.training.skops_file.TRUSTED`. A phase is the smallest thing that is kept: a training that was killed begins it anew, to the same bytes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from updraft.errors import TrainingError
from updraft.spec.trainer_params.sklearn import ELASTIC_NET, FOREST, LOGISTIC, PARAMS_OF, TREES
from updraft.training.host import ALONE, Group, Watch, leave
from updraft.training.learning import Checkpoint, Learnt, Progress, Rows, start_of
from updraft.training.library import IN_EVERY_ENVIRONMENT
from updraft.training.sk_scorer import SklearnScorer, finite
from updraft.training.skops_file import from_bytes, to_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from updraft.training.encoding import Encoder
    from updraft.training.recipe import Recipe

log = logging.getLogger(__name__)

_MOST_CATEGORIES = 255
"""Values of one category that HistGradientBoosting takes."""


@dataclass(frozen=True)
class SklearnTrainer:
    """See :class:`updraft.training.learning.Trainer`."""

    file: str = "model.skops"
    libraries: tuple[str, ...] = ("scikit-learn", "skops")
    to_install: str = IN_EVERY_ENVIRONMENT

    def learn(
        self,
        recipe: Recipe,
        encoder: Encoder,
        phase: str,
        rows: Rows,
        *,
        rounds: int,
        validation: Rows | None,
        checkpoint: Checkpoint | None,
        watch: Watch,
        group: Group = ALONE,
    ) -> Learnt:
        """Learn a phase in one piece."""
        kept = checkpoint.load(phase) if checkpoint else None
        if kept is not None:
            return Learnt(*kept)
        if group.size > 1:
            raise TrainingError("the sklearn trainer learns in one process; set training.compute.workers to 1")
        if watch.leaving is not None:
            leave(phase, 0)
        with _settled(recipe):
            fit = _Fit(recipe, encoder, _Rows.of(rows).with_some_number())
            model, progress = fit.stopped(rounds, validation) if validation is not None else fit.whole(rounds)
            weights = to_bytes(model.as_dict())
        watch.saw(phase, progress.rounds, progress.rounds, len(rows.label), progress.best, progress.best)
        if checkpoint:
            checkpoint.save(phase, weights, progress)
        return Learnt(weights, progress)

    def scorer(self, weights: bytes, encoder: Encoder, threads: int) -> SklearnScorer:
        """An estimator, built by skops of types that are trusted."""
        return SklearnScorer.of(from_bytes(weights))


SKLEARN = SklearnTrainer()


@dataclass(frozen=True, eq=False)
class _Rows:
    values: NDArray[np.float32]
    label: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Rows) -> _Rows:
        return cls(finite(rows.values), rows.label)

    def with_some_number(self) -> _Rows:
        """With a zero in the first row of each column that has no value at all, of which nothing can be learnt."""
        import numpy as np

        values = self.values.copy()
        values[:1, np.isnan(values).all(axis=0)] = 0.0
        return _Rows(values, self.label)


@dataclass(frozen=True, eq=False)
class _Fit:
    """One phase."""

    recipe: Recipe
    encoder: Encoder
    rows: _Rows
    """Without a column that is missing in every row: boosted trees find no bins for it."""

    def whole(self, rounds: int) -> tuple[SklearnScorer, Progress]:
        """As many rounds as there are to be."""
        return self._fitted(self._estimator(rounds)), Progress(rounds, None, rounds, (), done=True)

    def stopped(self, rounds: int, validation: Rows) -> tuple[SklearnScorer, Progress]:
        """With boosted trees up to the best round on the rows that validate; else the loss there is taken note of."""
        if self._name != TREES:
            model, _ = self.whole(rounds)
            loss = self.recipe.task_type.mean_margin_loss(validation.label, model.margin(validation.values))
            return model, Progress(rounds, loss, rounds, (loss,), done=True)
        patience = int(self.recipe.own("early_stopping"))
        model = self._fitted(self._estimator(rounds, patience), _Rows.of(validation))
        progress = Progress()
        for margin in model.staged(validation.values):
            progress = progress.after(self.recipe.task_type.mean_margin_loss(validation.label, margin))
        if progress.best_rounds < progress.rounds:
            model, _ = self.whole(progress.best_rounds)
        return model, Progress(progress.rounds, progress.best, progress.best_rounds, progress.curve, done=True)

    @property
    def _name(self) -> str:
        return str(self.recipe.own("estimator"))

    @property
    def _of_classes(self) -> bool:
        return self.recipe.task_type.label_is == "classes"

    def _params(self, *names: str) -> dict[str, Any]:
        """Those of the estimator that are set, or have a default of ours."""
        of_it = PARAMS_OF[self._name].intersection(names)
        set_ones = {name: value for name, value in self.recipe.params.items() if name in of_it}
        return {**{name: self.recipe.own(name) for name in of_it & self.recipe.own_names}, **set_ones}

    def _estimator(self, rounds: int, patience: int | None = None) -> Any:
        from sklearn import ensemble, linear_model

        seed, name = self.recipe.seed, self._name
        if name == TREES:
            self._check_categories()
            kind = (
                ensemble.HistGradientBoostingClassifier if self._of_classes else ensemble.HistGradientBoostingRegressor
            )
            params = self._params("learning_rate", "max_leaf_nodes", "max_depth", "min_samples_leaf", "max_features")
            return kind(
                max_iter=rounds,
                early_stopping=patience is not None,
                n_iter_no_change=patience or 1,
                scoring="loss",
                tol=0.0,
                categorical_features=self._columns("category") or None,
                random_state=seed,
                **params,
                **self._params("max_bins", "l2_regularization"),
            )
        if name == FOREST:
            forest = ensemble.RandomForestClassifier if self._of_classes else ensemble.RandomForestRegressor
            params = self._params("max_leaf_nodes", "max_depth", "min_samples_leaf", "max_features")
            return forest(n_estimators=rounds, n_jobs=self.recipe.threads, random_state=seed, **params)
        if name == LOGISTIC:
            params = self._params("C", "l1_ratio", "max_iter")
            solver = "saga" if params.get("l1_ratio") else "lbfgs"
            return self._prepared(linear_model.LogisticRegression(solver=solver, random_state=seed, **params))
        if name == ELASTIC_NET:
            return self._prepared(linear_model.ElasticNet(**self._params("alpha", "l1_ratio", "max_iter")))
        raise TrainingError(f"the sklearn trainer has no estimator {name}")

    def _prepared(self, estimator: Any) -> Any:
        """Behind what linear models need: numbers standardised and filled with their mean, a column for each value of a category."""
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        filled = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())
        most = int(self.recipe.own("max_categories"))
        values = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=most)
        parts = [("numbers", filled, self._columns("number")), ("categories", values, self._columns("category"))]
        return make_pipeline(ColumnTransformer([part for part in parts if part[2]]), estimator)

    def _columns(self, kind: str) -> list[int]:
        return [position for position, column in enumerate(self.encoder.columns) if column.kind == kind]

    def _check_categories(self) -> None:
        for column in self.encoder.columns:
            if len(column.categories) > _MOST_CATEGORIES:
                raise TrainingError(
                    f"feature {column.name!r} has {len(column.categories)} values, and {TREES} takes {_MOST_CATEGORIES}; "
                    f"put rare ones together in features.py, or choose {FOREST}, {LOGISTIC}, or another trainer"
                )

    def _fitted(self, estimator: Any, judged: _Rows | None = None) -> SklearnScorer:
        import numpy as np

        task, label = self.recipe.task_type, self.rows.label
        start = start_of(task, label)
        outputs = len(start) if isinstance(start, list) else 1
        if not self._of_classes:
            mean, scale = float(label.mean()), float(label.std()) or 1.0
            _fit(estimator, self.rows.values, (label - mean) / scale, self._judged(judged, mean, scale))
            return SklearnScorer(estimator, 1, (), (), mean, scale)
        classes = tuple(int(value) for value in np.unique(label))
        _fit(estimator, self.rows.values, label.astype(np.int64), self._judged(judged, classes=classes))
        return SklearnScorer(estimator, outputs, classes, tuple(start) if isinstance(start, list) else ())

    def _judged(
        self, judged: _Rows | None, mean: float = 0.0, scale: float = 1.0, classes: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        """The rows that early stopping looks at, as the estimator takes them; a class that it has not seen it cannot score."""
        import numpy as np

        if judged is None:
            return {}
        if not classes:
            return {"X_val": judged.values, "y_val": (judged.label - mean) / scale}
        known = np.isin(judged.label, classes)
        return {"X_val": judged.values[known], "y_val": judged.label[known].astype(np.int64)}


def _fit(estimator: Any, values: NDArray[np.float32], label: NDArray[Any], judged: Mapping[str, NDArray[Any]]) -> None:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        estimator.fit(values, label, **judged)
    if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
        log.warning("it had not converged when it stopped; more rounds (max_iter) may make a better model")


@contextmanager
def _settled(recipe: Recipe) -> Iterator[None]:
    """The recipe's threads, as the order of sums depends on them."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise TrainingError(f"the sklearn trainer cannot learn here: {error}; {IN_EVERY_ENVIRONMENT}") from error
    with threadpool_limits(limits=recipe.threads):
        yield
