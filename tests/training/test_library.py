"""What a training loads, and what it does not."""

from __future__ import annotations

import subprocess
import sys

LOADS = """
import sys
from updraft.training.library import load_xgboost
load_xgboost()
assert not [name for name in sys.modules if name.partition(".")[0] == "sklearn"], "scikit-learn was loaded"
import sklearn  # it can be, by whoever needs it
assert sklearn.__version__
"""


def test_xgboost_is_loaded_without_scikit_learn_which_others_may_load_after_it() -> None:
    subprocess.run([sys.executable, "-c", LOADS], check=True, timeout=300)
