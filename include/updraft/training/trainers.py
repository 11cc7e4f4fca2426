"""The trainers by name. Importing this imports no library that learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from updraft.training.learning import Trainer
from updraft.training.pytorch import TORCH
from updraft.training.xgb import XGBOOST

BY_NAME: Final[Mapping[str, Trainer]] = {"xgboost": XGBOOST, "torch": TORCH}
