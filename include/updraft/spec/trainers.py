"""What a trainer's ``params`` may say: names, types, ranges and defaults (XGBoost's: 3.2, "XGBoost Parameters").

A table of its own and not the training room's: a spec is checked where no trainer can be imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from updraft.spec.problems import did_you_mean

Value = bool | int | float | str
_LARGEST = 2**31 - 1
"""The libraries count in 32 bits."""


@dataclass(frozen=True)
class Param:
    """One parameter: a whole number, a number, true or false, or one of some words."""

    default: Value | None = None
    """What counts when it is not set; None leaves it to the library."""
    whole: bool = False
    flag: bool = False
    low: float | None = None
    above: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()

    def complaint(self, value: Value) -> str | None:
        """What is wrong with a value, or None."""
        if self.words:
            return None if value in self.words else f"must be one of {', '.join(self.words)}"
        if self.flag:
            return None if isinstance(value, bool) else "must be true or false"
        kind = "a whole number" if self.whole else "a number"
        if isinstance(value, bool) or not isinstance(
            value, int if self.whole else int | float
        ):  # a form may hold anything
            return f"must be {self._range(kind)}"
        if not abs(value) <= _LARGEST:  # nor is it not a number
            return f"must be {self._range(kind)}, and no more than {_LARGEST}"
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
    "rounds": Param(200, whole=True, low=1),
    "early_stopping": Param(20, whole=True, low=1),
    "checkpoint_every": Param(100, whole=True, low=1),
    "external_memory": Param(False, flag=True),
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
TORCH: Mapping[str, Param] = {
    "rounds": Param(60, whole=True, low=1),
    "early_stopping": Param(6, whole=True, low=1),
    "checkpoint_seconds": Param(30.0, low=0),
    "layers": Param(2, whole=True, low=1, high=16),
    "width": Param(128, whole=True, low=1, high=8192),
    "dropout": Param(0.3, low=0, high=0.9),
    "embedding": Param(4, whole=True, low=1, high=256),
    "learning_rate": Param(0.001, above=0, high=1),
    "weight_decay": Param(0.00001, low=0),
    "batch": Param(1024, whole=True, low=1),
    "precision": Param("auto", words=("auto", "full", "mixed")),
    "deterministic": Param(False, flag=True),
}


@dataclass(frozen=True)
class Rules:
    """What one trainer takes."""

    params: Mapping[str, Param]
    fixed: Mapping[str, str]
    """Parameters of the library that Updraft sets, and from what."""
    renamed: Mapping[str, str]
    """What other tools call a parameter, and its name here."""
    aliases: tuple[tuple[str, str], ...] = ()
    """Two names of one parameter."""

    def value(self, params: Mapping[str, Value], name: str) -> Value:
        """A parameter that has a default, as set or by that default.

        :raises KeyError: when it has none.
        """
        default = self.params[name].default
        if default is None:
            raise KeyError(name)
        return params.get(name, default)

    @property
    def own(self) -> frozenset[str]:
        """The parameters with a default of ours."""
        return frozenset(name for name, param in self.params.items() if param.default is not None)


_FROM_SPEC = {
    "seed": "from `training.seed`",
    "random_state": "from `training.seed`",
    "n_jobs": "from `training.compute.threads`",
    "device": "from what the machine has, or `training.compute`",
}
_ROUNDS = {"early_stopping_rounds": "early_stopping", "patience": "early_stopping"}

TRAINERS: Mapping[str, Rules] = {
    "xgboost": Rules(
        XGBOOST,
        fixed={
            "objective": "from `task`",
            "eval_metric": "from `task`",
            "base_score": "from the data",
            "nthread": "from `training.compute.threads`",
            "tree_method": "to hist",
            "booster": "to gbtree",
            "verbosity": "to quiet",
            "num_class": "from `task`",
            "enable_categorical": "to true",
            **_FROM_SPEC,
        },
        renamed={"n_estimators": "rounds", "num_boost_round": "rounds", "num_rounds": "rounds", **_ROUNDS},
        aliases=(
            ("eta", "learning_rate"),
            ("gamma", "min_split_loss"),
            ("lambda", "reg_lambda"),
            ("alpha", "reg_alpha"),
        ),
    ),
    "torch": Rules(
        TORCH,
        fixed={
            "loss": "from `task`",
            "optimizer": "to AdamW",
            "activation": "to ReLU",
            "num_threads": "from `training.compute.threads`",
            **_FROM_SPEC,
        },
        renamed={
            "epochs": "rounds",
            "max_epochs": "rounds",
            "num_epochs": "rounds",
            "lr": "learning_rate",
            "eta": "learning_rate",
            "batch_size": "batch",
            "hidden_size": "width",
            "n_layers": "layers",
            "amp": "precision",
            **_ROUNDS,
        },
    ),
}


def complaints(trainer: str, params: Mapping[str, Value]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """``(parameter, what is wrong, what is allowed)`` for the parameters of a trainer of :data:`TRAINERS`."""
    rules = TRAINERS[trainer]
    for name, value in params.items():
        if name in rules.fixed:
            yield name, f"set by Updraft {rules.fixed[name]}; remove it", ()
        elif name in rules.renamed:
            yield name, f"is called `{rules.renamed[name]}` here", ()
        elif name not in rules.params:
            hint = did_you_mean(name, rules.params)
            yield name, f"unknown parameter of {trainer}{hint}", () if hint else tuple(sorted(rules.params))
        elif complaint := rules.params[name].complaint(value):
            yield name, complaint, ()
    for name, other in rules.aliases:
        if name in params and other in params:
            yield other, f"is another name of `{name}`, which is set too; keep one", ()
