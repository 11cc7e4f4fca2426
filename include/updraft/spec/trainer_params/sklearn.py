"""Those of the estimators of scikit-learn (1.9) that may be named, under its own names but for `rounds`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from updraft.spec.trainer_params.rules import AT_LEAST_0, FRACTION, FROM_SPEC, STOPPING, Param, Rules, Value
from updraft.tasks.task_type import TaskType

TREES, FOREST = "hist_gradient_boosting", "random_forest"
LOGISTIC, ELASTIC_NET = "logistic_regression", "elastic_net"
ESTIMATORS = (TREES, FOREST, LOGISTIC, ELASTIC_NET)
_PARAMS: Mapping[str, Param] = {
    "estimator": Param(TREES, words=ESTIMATORS),
    "rounds": Param(200, whole=True, low=1),
    "early_stopping": Param(20, whole=True, low=1),
    "learning_rate": Param(above=0, high=1),
    "max_leaf_nodes": Param(whole=True, low=2),
    "max_depth": Param(whole=True, low=1),
    "min_samples_leaf": Param(20, whole=True, low=1),
    "max_features": FRACTION,
    "max_bins": Param(whole=True, low=2, high=255),
    "l2_regularization": AT_LEAST_0,
    "C": Param(above=0),
    "alpha": Param(0.001, above=0),
    "l1_ratio": Param(low=0, high=1),
    "max_iter": Param(1000, whole=True, low=1),
    "max_categories": Param(1000, whole=True, low=2),
}
PARAMS_OF: Final[Mapping[str, frozenset[str]]] = {
    TREES: frozenset(
        {
            *("rounds", "early_stopping", "learning_rate", "max_leaf_nodes", "max_depth", "min_samples_leaf"),
            *("max_features", "max_bins", "l2_regularization"),
        }
    ),
    FOREST: frozenset({"rounds", "max_leaf_nodes", "max_depth", "min_samples_leaf", "max_features"}),
    LOGISTIC: frozenset({"C", "l1_ratio", "max_iter", "max_categories"}),
    ELASTIC_NET: frozenset({"alpha", "l1_ratio", "max_iter", "max_categories"}),
}
"""Beside `estimator`, what each of them reads."""
_ONLY: Final[Mapping[str, str]] = {LOGISTIC: "classes", ELASTIC_NET: "numbers"}


def _unsuited(name: str, params: Mapping[str, Value]) -> str | None:
    estimator = str(params.get("estimator", TREES))
    if name == "estimator" or estimator not in PARAMS_OF or name in PARAMS_OF[estimator]:
        return None
    return f"is none of {estimator}, which takes {', '.join(sorted(PARAMS_OF[estimator]))}"


def _learns(params: Mapping[str, Value], task: TaskType) -> str | None:
    kind = task.label_is
    if kind is None:
        return "is none that its estimators learn"
    estimator = str(params.get("estimator", TREES))
    only = _ONLY.get(estimator, kind)
    if only == kind:
        return None
    others = ", ".join(name for name in ESTIMATORS if _ONLY.get(name, kind) == kind)
    return f"{estimator} learns {only}, and the label has {kind}; there are {others}"


RULES = Rules(
    _PARAMS,
    fixed={
        "loss": "from `task`",
        "warm_start": "to false",
        "categorical_features": "from the features",
        "validation_fraction": "to none: every seventh cluster validates",
        **FROM_SPEC,
    },
    renamed={"n_estimators": "rounds", "n_iter_no_change": "early_stopping", "eta": "learning_rate", **STOPPING},
    unsuited=_unsuited,
    learns=_learns,
)
