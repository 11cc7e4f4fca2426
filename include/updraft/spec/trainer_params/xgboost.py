"""XGBoost's (3.2, "XGBoost Parameters")."""

from __future__ import annotations

from collections.abc import Mapping

from updraft.spec.trainer_params.rules import AT_LEAST_0, FRACTION, FROM_SPEC, STOPPING, Param, Rules

_PARAMS: Mapping[str, Param] = {
    "rounds": Param(200, whole=True, low=1),
    "early_stopping": Param(20, whole=True, low=1),
    "checkpoint_every": Param(100, whole=True, low=1),
    "external_memory": Param(False, flag=True),
    "eta": Param(above=0, high=1),
    "learning_rate": Param(above=0, high=1),
    "gamma": AT_LEAST_0,
    "min_split_loss": AT_LEAST_0,
    "max_depth": Param(whole=True, low=0),
    "max_leaves": Param(whole=True, low=0),
    "min_child_weight": AT_LEAST_0,
    "max_delta_step": AT_LEAST_0,
    "subsample": FRACTION,
    "sampling_method": Param(words=("uniform", "gradient_based")),
    "colsample_bytree": FRACTION,
    "colsample_bylevel": FRACTION,
    "colsample_bynode": FRACTION,
    "lambda": AT_LEAST_0,
    "reg_lambda": AT_LEAST_0,
    "alpha": AT_LEAST_0,
    "reg_alpha": AT_LEAST_0,
    "grow_policy": Param(words=("depthwise", "lossguide")),
    "max_bin": Param(whole=True, low=2),
    "max_cat_to_onehot": Param(whole=True, low=1),
    "max_cat_threshold": Param(whole=True, low=1),
    "num_parallel_tree": Param(whole=True, low=1),
    "scale_pos_weight": Param(above=0),
}
RULES = Rules(
    _PARAMS,
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
        **FROM_SPEC,
    },
    renamed={"n_estimators": "rounds", "num_boost_round": "rounds", "num_rounds": "rounds", **STOPPING},
    aliases=(
        ("eta", "learning_rate"),
        ("gamma", "min_split_loss"),
        ("lambda", "reg_lambda"),
        ("alpha", "reg_alpha"),
    ),
    gpu=True,
    workers=True,
)
