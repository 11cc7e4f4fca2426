"""How the libraries that learn are loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from updraft.errors import TrainingError

ADD_PYTORCH = "`make torch` installs PyTorch; in a pod, train with an image cpu-torch or gpu-torch"
"""What to do where it is missing: it is not part of the environment that ``make bootstrap`` builds."""

IN_EVERY_ENVIRONMENT = "`make bootstrap` installs it with the rest of requirements.txt; in a pod, train with an image built from this version"
"""The same of what is part of it."""


def load_xgboost() -> Any:
    """XGBoost, with threads that sleep while they wait for each other.

    By default OpenMP's threads spin. Where other processes want the cores too (load 8 to 10 on two cores), that made a
    training of 3 s take 50 to 130 s; with sleeping threads it took 15 to 19 s, with the same result. OpenMP reads the
    setting when it is loaded: a process that imports xgboost earlier, as to fork from, needs it in its environment.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with _without_sklearn():
        import xgboost

    return xgboost


@contextmanager
def _without_sklearn() -> Iterator[None]:
    """Let a library believe that scikit-learn is not installed, unless it is loaded already.

    XGBoost imports it for its wrappers of scikit-learn's kind, of which none is used here: 130 MB and two seconds of every training.
    """
    if "sklearn" in sys.modules or "xgboost" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["sklearn"]


def load_lightgbm() -> Any:
    """LightGBM, with sleeping threads as above.

    :raises TrainingError: when it is not installed, or lacks the OpenMP library of the system.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise TrainingError(f"the lightgbm trainer cannot learn here: {error}; {IN_EVERY_ENVIRONMENT}") from error
    return lightgbm


def load_torch() -> Any:
    """PyTorch, with sleeping threads as above, and a workspace with which its sums on a GPU can be repeated.

    :raises TrainingError: when it is not installed.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        import torch
    except ImportError as error:
        raise TrainingError(f"the torch trainer cannot learn here: {error}; {ADD_PYTORCH}") from error
    return torch
