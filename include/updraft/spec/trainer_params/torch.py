"""Those of the multilayer perceptron."""

from __future__ import annotations

from collections.abc import Mapping

from updraft.spec.trainer_params.rules import FROM_SPEC, STOPPING, Param, Rules

_PARAMS: Mapping[str, Param] = {
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


RULES = Rules(
    _PARAMS,
    fixed={
        "loss": "from `task`",
        "optimizer": "to AdamW",
        "activation": "to ReLU",
        "num_threads": "from `training.compute.threads`",
        **FROM_SPEC,
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
        **STOPPING,
    },
    gpu=True,
    workers=True,
)
