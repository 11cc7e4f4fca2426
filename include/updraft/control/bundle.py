"""A version on its way to another environment: a folder with all that proves it, signed by the deployment that it comes from."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError

from updraft import files
from updraft.control.version import audit_bundle
from updraft.errors import InputError, IntegrityError
from updraft.jobs.contract import Contract, TrainingRequest, TrainingResult
from updraft.loop.context import Loop
from updraft.loop.lineage import lineage
from updraft.loop.plan import recipe_sha256
from updraft.loop.version_history import known_training
from updraft.registry.mlflow_registry import ModelRegistry
from updraft.registry.signing import SIGNATURE, sign, verify
from updraft.settings import BASE
from updraft.spec.environments import what_data_mean
from updraft.spec.model import Trainer

FORM: Literal[1] = 1
MANIFEST, MODEL, HOLDOUT, CARD, LINEAGE, AUDIT = (
    "version.json",
    "model",
    "holdout.parquet",
    "card.html",
    "lineage.json",
    "audit.json",
)
_FILES = (MANIFEST, HOLDOUT, CARD, LINEAGE, AUDIT, SIGNATURE)


class Origin(Contract):
    """``version.json``: which version it is, what it was asked for and what came of it there."""

    form: Literal[1] = FORM
    project: str
    environment: str
    """``base`` where the deployment has none."""
    version: str
    head_sha256: str
    """Of the newest decision on it, in the chain of the deployment that it comes from."""
    meaning: dict[str, Any]
    """See :func:`meaning`."""
    trainer: dict[str, Any]
    recipe_sha256: str
    asked_sha256: str
    request: TrainingRequest
    result: TrainingResult
    evaluation: dict[str, Any]
    holdout_sha256: str

    @classmethod
    def read(cls, path: Path, url: str) -> Self:
        """Read it of a bundle that was verified.

        :raises IntegrityError: when it is of another form.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            raise IntegrityError(
                f"{url}/{MANIFEST}: this Updraft reads form {FORM}, and {'.'.join(map(str, first['loc']))} is not of it ({first['msg']}); "
                "install the same version of Updraft on both sides"
            ) from error


def meaning(loop: Loop) -> dict[str, Any]:
    """What has to be the same wherever a version scores, by its place in the project's folder; JSON-able."""
    data = what_data_mean(loop.spec)
    return {
        "task": loop.spec.task,
        **{f"data.{key}": value for key, value in data.items()},
        "features.py": loop.features.sha256,
    }


def write_bundle(loop: Loop, version: str, registry: ModelRegistry, to: str) -> str:
    """Write a version with its proof, card, lineage and decisions below a URL, signed; the URL of its folder.

    What lies there is replaced; the signature is written last.

    :raises InputError: when there is no such version, its gates refused it, or its training keeps too little to prove it elsewhere.
    :raises IntegrityError: when the model or the proof is not what was signed and recorded.
    """
    training = known_training(loop, version)
    if training.state != "registered":
        raise InputError(f"{loop.name}: version {version} was refused by its gates; it is promoted nowhere")
    run = loop.training(training.id)
    if not run.is_prepared or run.kept_result is None:
        raise InputError(
            f"{loop.name}: the store keeps no request of version {version}; it was trained by an earlier Updraft: train it again"
        )
    if run.result.pruned or run.result.holdout_predictions_url is None:
        raise InputError(
            f"{loop.name}: version {version} has no proof on a holdout, so that nothing would be carried of it"
        )
    if recipe_sha256(loop, Trainer.model_validate(training.result["trainer"])) != training.result["recipe_sha256"]:
        raise InputError(
            f"{loop.name}: features, label or compute have changed since version {version} was trained, so that this folder does not say what it "
            "means; promote a version of today's recipe, or take the folder back to that commit"
        )
    registry.fetch_verified(loop.name, version, str(training.result["model_sha256"]))
    proof = run.proof
    audit = audit_bundle(loop, version)
    origin = Origin(
        project=loop.name,
        environment=loop.settings.environment or BASE,
        version=version,
        head_sha256=audit["decisions"][-1]["sha256"],
        meaning=meaning(loop),
        trainer=training.result["trainer"],
        recipe_sha256=training.result["recipe_sha256"],
        asked_sha256=training.result["asked_sha256"],
        request=run.request,
        result=run.result,
        evaluation=run.evaluation,
        holdout_sha256=proof.sha256,
    )
    with tempfile.TemporaryDirectory(prefix="updraft-") as parent:
        folder = Path(parent) / "bundle"
        shutil.copytree(registry.home / "models" / loop.name / version, folder / MODEL)
        (folder / HOLDOUT).write_bytes(files.read_verified(proof.url, proof.sha256))
        (folder / MANIFEST).write_text(origin.model_dump_json(indent=1))
        (folder / AUDIT).write_text(json.dumps(audit, indent=1, sort_keys=True, default=str))
        (folder / LINEAGE).write_text(json.dumps(lineage(loop, version).as_dict(), indent=1, default=str))
        if files.exists(run.folder.card):
            (folder / CARD).write_bytes(files.read_bytes(run.folder.card))
        sign(folder, registry.keys)
        url = f"{to.rstrip('/')}/{loop.name}-v{version}-{run.result.model_sha256[:12]}"
        for path in sorted(folder.rglob("*"), key=lambda path: path == folder / SIGNATURE):
            if path.is_file():
                files.write_bytes(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return url


@contextmanager
def opened_bundle(url: str, keys: Path) -> Iterator[tuple[Origin, Path]]:
    """A bundle, verified, in a folder of this machine that goes with the context.

    :param url: of its folder, as :func:`write_bundle` gives it.
    :param keys: folder with the public key of the deployment that signed it.
    :raises InputError: when there is none.
    :raises IntegrityError: when it is not what was signed there, or is of a form that this Updraft does not read.
    """
    with tempfile.TemporaryDirectory(prefix="updraft-") as parent:
        folder = Path(parent) / "bundle"
        (folder / MODEL).mkdir(parents=True)
        there = files.names_below(url)
        if MANIFEST not in there:
            raise InputError(f"{url} holds no {MANIFEST}: `updraft promote` names the folder that it has written")
        for name in (
            *(name for name in _FILES if name in there),
            *(f"{MODEL}/{name}" for name in files.names_below(f"{url}/{MODEL}")),
        ):
            (folder / name).write_bytes(files.read_bytes(f"{url}/{name}"))
        verify(folder, keys)
        yield Origin.read(folder / MANIFEST, url), folder
