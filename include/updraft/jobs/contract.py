"""What a training job reads and what it writes: two JSON files, the same in a local process and in a pod."""

from __future__ import annotations

import json
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from updraft import files
from updraft.errors import TrainingError
from updraft.jobs.attested import is_sealed, seal
from updraft.jobs.device import Wanted
from updraft.lake.places import RunFolder
from updraft.spec.trainers import TrainerName
from updraft.tasks.names import TaskName
from updraft.tasks.registry import DEFAULT, task_type
from updraft.tasks.task_type import TaskType
from updraft.training.importance import GAIN
from updraft.training.recipe import Device

SHA256 = r"^[0-9a-f]{64}$"
_WHERE_NOT_WHAT = frozenset(
    {"features_path", "tracking_uri", "output_url", "experiment", "run_name", "tags", "snapshot_url", "code_commit"}
)
"""Fields that say where things are and how they are called; every other one determines the model."""

Scalar = bool | int | float | str


class Contract(BaseModel):
    """Base of both files: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


_T = TypeVar("_T", bound=Contract)


class Trial(Contract):
    """One try of a search: the proof alone, given up where it is worse than others were."""

    stop_above: tuple[float | None, ...] = Field(
        (), description="by round: the validation loss so far above which it ends there; the last one counts on"
    )

    def stops(self, rounds: int, best: float | None) -> bool:
        """Whether a trial ends after a round with the lowest validation loss so far."""
        if best is None or not self.stop_above or rounds < 1:
            return False
        limit = self.stop_above[min(rounds, len(self.stop_above)) - 1]
        return limit is not None and best > limit


class TrainingRequest(Contract):
    """Everything that a training job needs to know."""

    project: str = Field(min_length=1)
    key: str = Field(description="partition at whose tick the training happens")
    task: TaskName = DEFAULT.name
    classes: tuple[str, ...] = Field((), description="of the label, in order, where the task has a list of them")
    trainer: TrainerName = "xgboost"
    params: dict[str, Scalar] = Field(default_factory=dict, description="the trainer's own")
    seed: int = Field(1, ge=0)
    threads: int = Field(2, ge=1, description="part of the recipe: the order of sums depends on it")
    device: Wanted = Field(default="auto", description="auto takes a GPU when one is there")
    workers: int = Field(
        default=1, ge=1, description="processes that learn it together; part of the recipe, as sums depend on it"
    )
    window: tuple[str, ...] = Field(min_length=1, description="partition keys in order, holdout included")
    holdout: tuple[str, ...] = Field((), description="the last keys of the window, which prove the recipe walk-forward")
    trial: Trial | None = Field(default=None, description="of a search: the proof alone, whose model is what it leaves")
    snapshot_url: str
    snapshot_sha256: str = Field(pattern=SHA256)
    features_sha256: str = Field(pattern=SHA256, description="of the source of the feature function")
    features_path: str | None = Field(None, description="that source; it travels with the model when given")
    code_commit: str | None = None
    output_url: str
    tracking_uri: str | None = Field(None, description="MLflow; null trains without a record there")
    experiment: str | None = Field(None, description="the project's name when null")
    run_name: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _window_is_sound(self) -> Self:
        if list(self.window) != sorted(set(self.window)):
            raise ValueError("window: keys must be in order, each once")
        if self.holdout and self.holdout != self.window[-len(self.holdout) :]:
            raise ValueError(f"holdout {list(self.holdout)} must be the last keys of the window")
        if len(self.holdout) >= len(self.window):
            raise ValueError("holdout leaves nothing of the window to learn from")
        return self

    @property
    def request_sha256(self) -> str:
        """Canonical hash of what determines the model: of two requests with one hash, one needs training."""
        where = _WHERE_NOT_WHAT if self.device == "cuda" else _WHERE_NOT_WHAT | {"device"}
        where = where if self.trial is not None else where | {"trial"}
        where |= {"workers"} if self.workers == 1 else set()
        where |= set() if self.classes else {"classes"}
        return files.canonical_hash(self.model_dump(mode="json", exclude=set(where)))

    @property
    def task_type(self) -> TaskType:
        """What the task means."""
        return task_type(self.task, self.classes)

    @property
    def folder(self) -> RunFolder:
        """What stands below ``output_url``."""
        return RunFolder(self.output_url)

    def on(self, device: Device) -> TrainingRequest:
        """The request with its device settled. A model of a GPU has another hash than one of the CPU: sums differ."""
        return self.model_copy(update={"device": device})

    def write(self, url: str) -> str:
        """Write the request as JSON and return the URL."""
        files.write_json(url, self.model_dump(mode="json"))
        return url

    @classmethod
    def read(cls, url: str) -> TrainingRequest:
        """Read a request.

        :raises TrainingError: when the file is missing, is no JSON, or a key of it is wrong; names each key.
        """
        return _read(cls, url)


class TrainingResult(Contract):
    """What a training job leaves: references and numbers, small enough for an XCom."""

    project: str
    key: str
    request_sha256: str
    snapshot_sha256: str
    features_sha256: str
    model_url: str = Field(
        description="folder: the trainer's file (model.ubj, model.txt, …), encoder.json, meta.json, and features.py when it travels along"
    )
    model_sha256: str = Field(description="of the content of that folder, the same for the same request")
    mlflow_run_id: str | None = None
    rounds: int = Field(description="of the released model")
    pruned: bool = Field(default=False, description="a trial that was given up")
    metrics: dict[str, float] = Field(description="loss on the validation clusters and on the holdout")
    curve: dict[str, list[float]] = Field(description="validation loss after each round of the proof")
    importance: dict[str, float] = Field(description="share by feature; see importance_is")
    importance_is: str = Field(default=GAIN, description="what importance is a share of")
    device: Device = "cpu"
    rows: int
    holdout_rows: int
    holdout_predictions_url: str | None = Field(description="Parquet; null without a holdout")
    holdout_predictions_sha256: str | None = Field(default=None, pattern=SHA256)
    seconds: float
    peak_memory_mb: float
    cpu_seconds: float | None = Field(None, description="of the process that ended the training")
    gpu_percent: float | None = Field(None, description="mean use; null without a GPU")
    gpu_memory_mb: float | None = None
    environment: dict[str, str]
    seal: str | None = Field(
        default=None, description="of the rest, by the run's own secret; null for a training by hand"
    )

    def sealed(self, key: str | None) -> TrainingResult:
        """The result with the seal of its run; without a key without one."""
        plain = self.model_dump(mode="json", exclude={"seal"})
        return self.model_copy(update={"seal": None if key is None else seal(key, plain)})

    def write(self, url: str) -> None:
        """Write the result as JSON."""
        files.write_json(url, self.model_dump(mode="json", exclude=None if self.seal else {"seal"}))

    @classmethod
    def read(cls, url: str) -> TrainingResult:
        """Read a result.

        :raises TrainingError: when the file is missing, is no JSON, or a key of it is wrong.
        """
        return _read(cls, url)

    @classmethod
    def read_sealed(cls, url: str, key: str) -> TrainingResult | None:
        """Read the result that the run with this secret has written; None where there is none, whatever else lies there.

        :raises TrainingError: when a key of it is wrong, which its own training has written.
        """
        try:
            told = json.loads(files.read_bytes(url))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        if not isinstance(told, dict):
            return None
        given = told.pop("seal", None)
        # The seal is held against what was written, and not against what this version reads in it.
        return _read(cls, url) if is_sealed(key, told, given) else None


def _read(kind: type[_T], url: str) -> _T:
    try:
        return kind.model_validate_json(files.read_bytes(url))
    except FileNotFoundError:
        raise TrainingError(f"{url}: there is no such file") from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or kind.__name__}: {problem['msg']}" for problem in error.errors()
        )
        raise TrainingError(f"{url}: not a {kind.__name__}: {problems}") from error
