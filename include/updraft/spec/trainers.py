"""What a trainer's ``params`` may say: names, types and ranges (XGBoost 3.2, "XGBoost Parameters").

A table of its own and not the training room's: a spec is checked where no trainer can be imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from updraft.spec.problems import did_you_mean

Value = bool | int | float | str


@dataclass(frozen=True)
class Param:
    """One parameter: a whole number, a number, or one of some words."""

    whole: bool = False
    low: float | None = None
    above: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()

    def complaint(self, value: Value) -> str | None:
        """What is wrong with a value, or None."""
        if self.words:
            return None if value in self.words else f"must be one of {', '.join(self.words)}"
        kind = "a whole number" if self.whole else "a number"
        if isinstance(value, bool | str) or (self.whole and not isinstance(value, int)):
            return f"must be {self._range(kind)}"
        low = self.low is not None and value < self.low
        high = self.high is not None and value > self.high
        if low or high or (self.above is not None and value <= self.above):
            return f"must be {self._range(kind)}"
        return None

    def _range(self, kind: str) -> str:
        if self.above is not None:
            return f"{kind} above {self.above:g}" + (f" and at most {self.high:g}" if self.high is not None else "")
        if self.low is not None and self.high is not None:
            return f"{kind} between {self.low:g} and {self.high:g}"
        return f"{kind} of at least {self.low:g}" if self.low is not None else kind


_FRACTION = Param(above=0, high=1)
_AT_LEAST_0 = Param(low=0)

XGBOOST: Mapping[str, Param] = {
    "rounds": Param(whole=True, low=1),
    "early_stopping": Param(whole=True, low=1),
    "checkpoint_every": Param(whole=True, low=1),
    "eta": Param(above=0, high=1),
    "learning_rate": Param(above=0, high=1),
    "gamma": _AT_LEAST_0,
    "min_split_loss": _AT_LEAST_0,
    "max_depth": Param(whole=True, low=0),
    "max_leaves": Param(whole=True, low=0),
    "min_child_weight": _AT_LEAST_0,
    "max_delta_step": _AT_LEAST_0,
    "subsample": _FRACTION,
    "sampling_method": Param(words=("uniform", "gradient_based")),
    "colsample_bytree": _FRACTION,
    "colsample_bylevel": _FRACTION,
    "colsample_bynode": _FRACTION,
    "lambda": _AT_LEAST_0,
    "reg_lambda": _AT_LEAST_0,
    "alpha": _AT_LEAST_0,
    "reg_alpha": _AT_LEAST_0,
    "grow_policy": Param(words=("depthwise", "lossguide")),
    "max_bin": Param(whole=True, low=2),
    "max_cat_to_onehot": Param(whole=True, low=1),
    "max_cat_threshold": Param(whole=True, low=1),
    "num_parallel_tree": Param(whole=True, low=1),
    "scale_pos_weight": Param(above=0),
}
ALIASES = (("eta", "learning_rate"), ("gamma", "min_split_loss"), ("lambda", "reg_lambda"), ("alpha", "reg_alpha"))
FIXED: Mapping[str, str] = {
    "objective": "from `task`",
    "eval_metric": "from `task`",
    "base_score": "from the data",
    "seed": "from `training.seed`",
    "random_state": "from `training.seed`",
    "nthread": "from `training.compute.threads`",
    "n_jobs": "from `training.compute.threads`",
    "tree_method": "to hist",
    "booster": "to gbtree",
    "device": "from `training.compute`",
    "verbosity": "to quiet",
    "num_class": "from `task`",
    "enable_categorical": "to true",
}
RENAMED = {
    "n_estimators": "rounds",
    "num_boost_round": "rounds",
    "num_rounds": "rounds",
    "early_stopping_rounds": "early_stopping",
}


def complaints(params: Mapping[str, Value]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """``(parameter, what is wrong, what is allowed)`` for the parameters of the xgboost trainer."""
    for name, value in params.items():
        if name in FIXED:
            yield name, f"set by Updraft {FIXED[name]}; remove it", ()
        elif name in RENAMED:
            yield name, f"is called `{RENAMED[name]}` here", ()
        elif name not in XGBOOST:
            hint = did_you_mean(name, XGBOOST)
            yield name, f"unknown parameter of xgboost{hint}", () if hint else tuple(sorted(XGBOOST))
        elif complaint := XGBOOST[name].complaint(value):
            yield name, complaint, ()
    for name, other in ALIASES:
        if name in params and other in params:
            yield other, f"is another name of `{name}`, which is set too; keep one", ()
