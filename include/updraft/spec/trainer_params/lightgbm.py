"""LightGBM's (4.7, "Parameters"), under its main names."""

from __future__ import annotations

from collections.abc import Mapping

from updraft.spec.trainer_params.rules import AT_LEAST_0, FRACTION, FROM_SPEC, STOPPING, Param, Rules, Value

_PARAMS: Mapping[str, Param] = {
    "rounds": Param(200, whole=True, low=1),
    "early_stopping": Param(20, whole=True, low=1),
    "checkpoint_every": Param(100, whole=True, low=1),
    "learning_rate": Param(above=0, high=1),
    "num_leaves": Param(whole=True, low=2, high=131072),
    "max_depth": Param(whole=True, low=-1),
    "min_data_in_leaf": Param(whole=True, low=0),
    "min_sum_hessian_in_leaf": AT_LEAST_0,
    "min_gain_to_split": AT_LEAST_0,
    "max_delta_step": AT_LEAST_0,
    "lambda_l1": AT_LEAST_0,
    "lambda_l2": AT_LEAST_0,
    "path_smooth": AT_LEAST_0,
    "bagging_fraction": FRACTION,
    "bagging_freq": Param(whole=True, low=0),
    "data_sample_strategy": Param(words=("bagging", "goss")),
    "feature_fraction": FRACTION,
    "feature_fraction_bynode": FRACTION,
    "extra_trees": Param(flag=True),
    "max_bin": Param(whole=True, low=2),
    "min_data_in_bin": Param(whole=True, low=1),
    "min_data_per_group": Param(whole=True, low=1),
    "max_cat_threshold": Param(whole=True, low=1),
    "max_cat_to_onehot": Param(whole=True, low=1),
    "cat_smooth": AT_LEAST_0,
    "cat_l2": AT_LEAST_0,
    "scale_pos_weight": Param(above=0),
}


def _unsuited(name: str, params: Mapping[str, Value]) -> str | None:
    if name in ("bagging_fraction", "bagging_freq") and params.get("data_sample_strategy") == "goss":
        return "draws nothing beside `data_sample_strategy: goss`, which draws by gradient; keep one"
    return None


RULES = Rules(
    _PARAMS,
    fixed={
        "objective": "from `task`",
        "metric": "from `task`",
        "num_class": "from `task`",
        "num_threads": "from `training.compute.threads`",
        "nthread": "from `training.compute.threads`",
        "boosting": "to gbdt",
        "deterministic": "to true",
        "force_row_wise": "to true",
        "force_col_wise": "to false",
        "verbosity": "to quiet",
        "device_type": "to cpu",
        **FROM_SPEC,
    },
    renamed={
        "n_estimators": "rounds",
        "num_iterations": "rounds",
        "num_boost_round": "rounds",
        "eta": "learning_rate",
        "max_leaves": "num_leaves",
        "min_child_samples": "min_data_in_leaf",
        "min_child_weight": "min_sum_hessian_in_leaf",
        "min_split_gain": "min_gain_to_split",
        "subsample": "bagging_fraction",
        "subsample_freq": "bagging_freq",
        "colsample_bytree": "feature_fraction",
        "colsample_bynode": "feature_fraction_bynode",
        "reg_alpha": "lambda_l1",
        "reg_lambda": "lambda_l2",
        **STOPPING,
    },
    unsuited=_unsuited,
    learns=lambda _, task: "is none that it learns" if task.lightgbm is None else None,
)
