"""What a training at a tick learns from, by which recipe, and through which lane its model goes."""

from __future__ import annotations

from collections.abc import Mapping

from updraft.data.partitions import last_begun, partition
from updraft.errors import TrainingError
from updraft.files import canonical_hash
from updraft.jobs.plan import Plan
from updraft.loop.context import Loop
from updraft.spec.model import ProjectSpec, Trainer
from updraft.store.records import Lane, TrainingRow
from updraft.training.recipe import Recipe

Scalar = bool | int | float | str


def plan_training(
    loop: Loop, key: str, *, trainer: str | None = None, params: Mapping[str, Scalar] | None = None
) -> Plan:
    """Plan a training on the newest partitions up to and with ``key``.

    :param trainer: one of the project's trainers; the first one when None.
    :param params: parameters that differ from the project's; they make the training a ``change``.
    :raises TrainingError: when there is too little to learn from, or no such trainer.
    """
    named = {listed.name: listed for listed in loop.spec.training.trainers}
    if trainer is not None and trainer not in named:
        raise TrainingError(f"{loop.name}: no trainer {trainer!r}; there are {sorted(named)}")
    chosen = named[trainer] if trainer is not None else loop.spec.training.trainers[0]
    chosen = chosen.model_copy(update={"params": {**chosen.params, **(params or {})}})
    Recipe(task=loop.spec.task, params=chosen.params, trainer=chosen.name)  # refuses what no hash can be made of
    asked = recipe_sha256(loop, named[chosen.name])
    if params is None or not params:
        chosen = _promoted_recipe(loop, chosen, asked)
    return _plan(loop, key, chosen, asked)


def plan_again(loop: Loop, key: str, training: TrainingRow) -> Plan:
    """Plan another training by the recipe of one that was entered.

    :raises TrainingError: when there is too little to learn from, or features, label or compute have changed since: it would be another recipe.
    """
    learnt = training.result
    trainer = Trainer.model_validate(learnt["trainer"])
    if recipe_sha256(loop, trainer) != learnt["recipe_sha256"]:
        raise TrainingError(
            f"{loop.name}: the recipe of version {training.version} cannot be had any more: its features, label or compute have changed"
        )
    return _plan(loop, key, trainer, str(learnt["asked_sha256"]))


def _plan(loop: Loop, key: str, chosen: Trainer, asked: str) -> Plan:
    spec = loop.spec
    window = tuple(labelled_partitions(loop, key, newest=spec.training.window))
    holdout = window[-spec.release.refresh.holdout :]
    if len(window) - len(holdout) < 1:
        raise TrainingError(
            f"{loop.name}: {len(window)} partitions with labels known at {key}; a training needs more than the holdout of {len(holdout)}"
        )
    plan = Plan(
        project=loop.name,
        key=key,
        window=window,
        holdout=holdout,
        trainer=chosen,
        seed=spec.training.seed,
        threads=spec.training.compute.threads,
        recipe_sha256=recipe_sha256(loop, chosen),
        asked_sha256=asked,
        lane=_lane(loop, recipe_sha256(loop, chosen)),
        workers=spec.training.compute.workers,
    )
    plan.recipe(spec)  # refuses an unknown parameter before anything starts
    return plan


def labelled_partitions(loop: Loop, key: str, *, newest: int | None = None) -> list[str]:
    """Published partitions of which some labels are known at the tick of ``key``: rows older than ``label.matures_after`` by then.

    Without those whose feed was found broken.

    :param newest: only the newest so many of them.
    """
    rows = loop.store.partitions(loop.name, until=newest_labelled(loop.spec, key), newest=newest, learnable=True)
    return [row.key for row in rows]


def count_labelled(loop: Loop, key: str) -> int:
    """Number of :func:`labelled_partitions`."""
    until = newest_labelled(loop.spec, key)
    return loop.store.count_published(loop.name, until=until) - len(loop.store.kept_out(loop.name, until=until))


def newest_labelled(spec: ProjectSpec, key: str) -> str:
    """Key of the newest partition that may have labels at the tick of ``key``, whether it was ingested or not."""
    matured = partition(spec, key).tick - spec.data.label.matures_after
    return min(key, last_begun(spec, matured).key)


def recipe_sha256(loop: Loop, trainer: Trainer) -> str:
    """Hash of everything that determines a model but the data."""
    spec = loop.spec
    workers = spec.training.compute.workers
    return canonical_hash(
        {
            **({"workers": workers} if workers > 1 else {}),
            "trainer": trainer.name,
            "params": dict(trainer.params),
            "seed": spec.training.seed,
            "threads": spec.training.compute.threads,
            "features": loop.features.sha256,
            "label": spec.data.label.model_dump(mode="json"),
            "task": spec.task,
            **({"clean": spec.data.model_dump(mode="json")["clean"]} if spec.data.clean else {}),
        }
    )


def _champion_training(loop: Loop) -> TrainingRow | None:
    return loop.store.training_of(loop.name, loop.store.serving(loop.name).champion)


def _promoted_recipe(loop: Loop, trainer: Trainer, asked: str) -> Trainer:
    """A change that was started by hand and promoted goes on with its parameters, until project.yaml or features.py change."""
    champion = _champion_training(loop)
    if champion is None or champion.result.get("asked_sha256") != asked:
        return trainer
    return Trainer.model_validate(champion.result["trainer"])


def _lane(loop: Loop, recipe: str) -> Lane:
    """``refresh`` when the champion was made by the same recipe (or there is none yet), else ``change``."""
    champion = _champion_training(loop)
    return "refresh" if champion is None or champion.result.get("recipe_sha256") == recipe else "change"
