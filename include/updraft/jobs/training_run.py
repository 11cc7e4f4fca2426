"""Everything of one training run, read and written in this one place: what the store knows of it, and its folder in the lake.

What is decided on comes from the store. The lake is read where a training leaves something for the first time: its result, why it
failed, what it used. Result and failure count when they carry the seal of the run's secret; what it used is a note for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from updraft import files
from updraft.errors import IntegrityError, TrainingError
from updraft.jobs.attested import new_run_key
from updraft.jobs.contract import TrainingRequest, TrainingResult
from updraft.jobs.failure import TrainingFailure, read_failure
from updraft.jobs.plan import Plan
from updraft.jobs.run import check_result, collect_training
from updraft.jobs.usage import Usage, last_usage
from updraft.lake.places import Lake, RunFolder
from updraft.spec.model import Trainer
from updraft.store.records import RecordKind
from updraft.store.store import Store


class ProofFile(NamedTuple):
    """A run's proof as it was held against its snapshot."""

    url: str
    sha256: str


@dataclass(frozen=True)
class TrainingRun:
    """One training run of a project, a trial of a search included; it need not have begun."""

    id: str
    store: Store
    lake: Lake

    @property
    def project(self) -> str:
        """The project's name."""
        return self.lake.project

    @property
    def folder(self) -> RunFolder:
        """Its files."""
        return self.lake.training(self.id)

    @property
    def key(self) -> str:
        """Its secret, with which its training seals what it leaves; drawn when it is asked for first."""
        return str(self.store.record_run(self.project, self.id, "key", {"key": new_run_key()})["key"])

    # -- what it was asked for

    @property
    def is_prepared(self) -> bool:
        """Whether it has a request."""
        return self._record("request") is not None

    @property
    def request(self) -> TrainingRequest:
        """What it was asked for.

        :raises TrainingError: when it was not prepared.
        """
        return TrainingRequest.model_validate(self._needed("request", "clear its first task, which prepares it"))

    @property
    def plan(self) -> Plan:
        """The plan that it was prepared with.

        :raises TrainingError: when it was not prepared, or is a trial.
        """
        kept = dict(self._kept_plan)
        for beside in ("reason", "fit"):
            kept.pop(beside, None)
        sequences = {name: tuple(kept[name]) for name in ("window", "holdout")}
        return Plan(**{**kept, **sequences, "trainer": Trainer(**kept["trainer"])})

    @property
    def reason(self) -> str:
        """Why it was started, as whoever started it said."""
        return str(self._kept_plan.get("reason") or "")

    @property
    def fit_name(self) -> str:
        """Name of what follows from its plan, as the data were when it was prepared; the lake may hold others by now."""
        return str(self._kept_plan["fit"])

    def keep_asked(self, plan: Plan, request: TrainingRequest, *, reason: str, fit_name: str) -> None:
        """Keep what it is asked for, once; with it the run is prepared."""
        kept = {**asdict(plan), "trainer": plan.trainer.model_dump(), "reason": reason, "fit": fit_name}
        self.store.record_asked(self.project, self.id, kept, request.model_dump(mode="json"))

    def keep_request(self, request: TrainingRequest) -> None:
        """Keep the request of a trial, once."""
        self.store.record_run(self.project, self.id, "request", request.model_dump(mode="json"))

    def write_request(self) -> str:
        """Write request and feature code into the lake for whoever trains; what lies there is replaced. The request's URL.

        :raises TrainingError: when it was not prepared.
        """
        request = self.request
        source = self.store.feature_code(self.project, request.features_sha256)
        if source is not None and request.features_path is not None:
            files.write_bytes(request.features_path, source)
        return request.write(self.folder.request)

    # -- what its training left

    def collect(self, tracking_uri: str | None) -> TrainingResult | None:
        """Take what the training left, held against the request, and keep it in the store; None while there is nothing.

        From then on the store's copy counts. The model in the lake is verified each time.

        :param tracking_uri: MLflow, where the training is recorded if it could not do so itself.
        :raises TrainingError: when the result is of another request, or cut short.
        :raises IntegrityError: when result, model or feature code is not what was asked for.
        """
        request = self.request
        if (kept := self._record("result")) is not None:
            result = TrainingResult.model_validate(kept)
            check_result(request, result)
            return result
        collected = collect_training(request, tracking_uri, self.key)
        if collected is None:
            return None
        if (url := collected.holdout_predictions_url) is not None:
            actual = files.sha256(files.read_bytes(url))
            if collected.holdout_predictions_sha256 not in (None, actual):
                raise IntegrityError(f"{url} is not what its training wrote (SHA-256 {actual})")
            collected = collected.model_copy(update={"holdout_predictions_sha256": actual})
        plain = collected.model_dump(mode="json", exclude={"seal"})
        return TrainingResult.model_validate(self.store.record_run(self.project, self.id, "result", plain))

    @property
    def result(self) -> TrainingResult:
        """What its training left, as it was collected.

        :raises TrainingError: when nothing was.
        """
        return TrainingResult.model_validate(self._needed("result", "clear the task that trains"))

    @property
    def kept_result(self) -> TrainingResult | None:
        """The same; None when nothing was collected."""
        kept = self._record("result")
        return None if kept is None else TrainingResult.model_validate(kept)

    @property
    def nothing_left(self) -> str:
        """What may be wrong when a training ended well and no result of its own is there."""
        if files.exists(self.folder.result):
            name = self.folder.result.rpartition("/")[2]
            return (
                f"a {name} lies there without this run's seal, and is not believed; is the trainer's image of this version of "
                "Updraft? Else somebody else wrote it"
            )
        return "left no result; is the Secret's object store the one of UPDRAFT_LAKE?"

    def failure(self, attempt: str, worker: int = 0) -> TrainingFailure | None:
        """Why a worker failed in one try, as it says itself; None when it says nothing.

        :param attempt: name of the try's pod.
        """
        return read_failure(self.folder, self.key, attempt, worker)

    def usage(self, worker: int = 0) -> Usage | None:
        """What a worker had used when it last told."""
        return last_usage(self.folder.usage(worker))

    # -- how it was judged

    @property
    def proof(self) -> ProofFile:
        """Its proof as it was held against the snapshot.

        :raises TrainingError: when the run was not evaluated.
        """
        kept = self._needed("proof", "clear evaluate_model")
        return ProofFile(str(kept["url"]), str(kept["sha256"]))

    def keep_proof(self, proof: ProofFile) -> None:
        """Keep where its proof is, in place of an earlier evaluation's."""
        self.store.record_run(self.project, self.id, "proof", proof._asdict(), replace=True)

    @property
    def evaluation(self) -> dict[str, Any]:
        """What the gates said of it.

        :raises TrainingError: when the run was not evaluated.
        """
        return self._needed("evaluation", "clear evaluate_model")

    def keep_evaluation(self, comparison: Mapping[str, Any]) -> None:
        """Keep what the gates said, in place of an earlier evaluation."""
        self.store.record_run(self.project, self.id, "evaluation", dict(comparison), replace=True)

    # -- its records

    @property
    def _kept_plan(self) -> dict[str, Any]:
        return self._needed("plan", "clear snapshot_data, which makes it")

    def _record(self, kind: RecordKind) -> dict[str, Any] | None:
        return self.store.run_record(self.project, self.id, kind)

    def _needed(self, kind: RecordKind, todo: str) -> dict[str, Any]:
        kept = self._record(kind)
        if kept is None:
            raise TrainingError(f"{self.id}: the store has no {kind} of this run; {todo}")
        return kept
