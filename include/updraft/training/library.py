"""How XGBoost is loaded."""

from __future__ import annotations

import os
from typing import Any


def load_xgboost() -> Any:
    """XGBoost, with threads that sleep while they wait for each other.

    By default OpenMP's threads spin. Where other processes want the cores too (load 8 to 10 on two cores), that made a
    training of 3 s take 50 to 130 s; with sleeping threads it took 15 to 19 s, with the same result. OpenMP reads the
    setting when it is loaded: a process that imports xgboost earlier, as to fork from, needs it in its environment.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import xgboost

    return xgboost
