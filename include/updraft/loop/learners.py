"""Which versions learnt from a partition."""

from __future__ import annotations

from updraft.loop.context import Loop


def learners_in_use(loop: Loop, key: str) -> tuple[str, ...]:
    """Those of the versions that serve, served before or are being proved which have the partition in their window, in their order.

    Of these alone it matters to on-call; `updraft lineage` tells it of any version. It asks for a handful of rows, however long the history is.
    """
    serving = loop.store.serving(loop.name)
    proved = loop.store.open_releases(loop.name)
    in_use = dict.fromkeys((serving.champion, serving.previous, *(release.version for release in proved)))
    trainings = {version: loop.store.training_of(loop.name, version) for version in in_use if version is not None}
    learners = [
        version for version, training in trainings.items() if training and key in training.result.get("window", ())
    ]
    return tuple(sorted(learners, key=int))
