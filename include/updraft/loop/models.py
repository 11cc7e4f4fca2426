"""Models of a deployment: MLflow's registry, verified against what the store recorded."""

from __future__ import annotations

from dataclasses import dataclass

from updraft.registry.mlflow_registry import ModelRegistry
from updraft.store.store import Store
from updraft.training.model import Model


@dataclass(frozen=True)
class RegisteredModels:
    """The models of one project."""

    project: str
    registry: ModelRegistry
    store: Store

    def load(self, version: str) -> Model:
        """The model of a version, verified against its signature and the hash that the store has of it.

        :raises IntegrityError: when it is not what was signed and registered.
        """
        known = self.store.training_of(self.project, version)
        return self.registry.fetch_verified(self.project, version, known.result.get("model_sha256") if known else None)

    def point(self, aliases: dict[str, str | None]) -> None:
        """Bring MLflow's aliases in line."""
        self.registry.reconcile(self.project, aliases)
