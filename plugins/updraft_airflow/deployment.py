"""The deployment that this Airflow process belongs to: settings from the environment, store and MLflow behind them."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache

from updraft.loop.context import Loop
from updraft.loop.models import RegisteredModels
from updraft.registry.mlflow_registry import ModelRegistry
from updraft.settings import Settings
from updraft.spec.load import load_project
from updraft.store.anchors import Anchors
from updraft.store.store import Store
from updraft_airflow.connections import AirflowConnections


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Settings of this process."""
    return replace(Settings.from_env(os.environ), connections=AirflowConnections())


@lru_cache(maxsize=2)
def _store(url: str, process: int) -> Store:  # by process: a connection must not cross a fork
    return Store.open(url, Anchors.of(settings()))


def store() -> Store:
    """The store of this deployment."""
    return _store(settings().need_store(), os.getpid())


@lru_cache(maxsize=2)
def _registry(uri: str, process: int) -> ModelRegistry:
    return ModelRegistry(uri, settings().home)


def registry() -> ModelRegistry:
    """The model registry of this deployment."""
    return _registry(settings().mlflow, os.getpid())


def open_loop(project: str) -> Loop:
    """The loop of a project, with its policy as it is on disk now.

    :raises SpecError: when the project's folder is broken.
    """
    loaded = load_project(settings().projects / project, settings().environment)
    return Loop(loaded, settings(), store(), RegisteredModels(loaded.name, registry(), store()))
