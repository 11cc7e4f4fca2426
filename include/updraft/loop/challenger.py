"""A change in shadow is refreshed along with the champion, so that it does not lose by age alone.

What a shadow proves is a recipe. When a refreshed champion has been promoted meanwhile, the change's recipe learns again from the very window
that the champion learnt from; the version that comes of it takes the place of the older one, and its release goes on with the evidence.
"""

from __future__ import annotations

from updraft.errors import TrainingError
from updraft.jobs.plan import Plan
from updraft.loop.context import Loop
from updraft.loop.plan import plan_again, plan_training
from updraft.monitoring.remedies import AgedChallenger
from updraft.store.records import CHALLENGER, EpisodeRow, ReleaseRow


def aged_challenger(loop: Loop) -> AgedChallenger | None:
    """The change in shadow that is to learn again; None when there is none, or it was tried since the champion serves, or its code is not here."""
    change = _change(loop)
    if change is None:
        return None
    serving = loop.store.serving(loop.name)
    champion = loop.store.training_of(loop.name, serving.champion)
    learnt = loop.store.training_of(loop.name, change.version)
    if champion is None or learnt is None or serving.since is None or learnt.key >= champion.key:
        return None
    tried = loop.store.episodes(loop.name, cause=CHALLENGER, newest=1)
    if tried and tried[-1].opened_at > serving.since:
        return None
    try:
        plan_again(loop, champion.key, learnt)
    except TrainingError:  # its features, trainer or partitions are gone; the release says what its evidence is worth
        return None
    words = (
        f"version {change.version}, in shadow, learnt at {learnt.key}, and version {champion.version}, which serves, at {champion.key}: "
        "its recipe learns from the same window, so that it is not beaten by age alone"
    )
    return AgedChallenger(change.version, champion.key, words)


def plan_remedy(loop: Loop, key: str, episode: EpisodeRow | None = None) -> Plan:
    """The training that the policy calls for at a tick.

    While the change that project.yaml asks for is in shadow, the champion is refreshed by its own recipe, where that can still be done, and
    the change along with it: so both are of the same age.

    :param episode: that calls for it; None of one that is tried, or is to come.
    :raises TrainingError: when there is too little to learn from.
    """
    if episode is not None and episode.cause == CHALLENGER:
        learnt = loop.store.training_of(loop.name, str(episode.diagnosis["version"]))
        if learnt is None:
            raise TrainingError(f"{episode.id}: no training of version {episode.diagnosis['version']} is known")
        return plan_again(loop, str(episode.diagnosis["partition"]), learnt)
    plan, change = plan_training(loop, key), _change(loop)
    if plan.lane == "refresh" or change is None:
        return plan
    learnt = loop.store.training_of(loop.name, change.version)
    champion = loop.store.training_of(loop.name, loop.store.serving(loop.name).champion)
    if learnt is None or champion is None or learnt.result.get("recipe_sha256") != plan.recipe_sha256:
        return plan
    try:
        return plan_again(loop, key, champion)
    except TrainingError:  # the champion's features or trainer are gone
        return plan


def void(loop: Loop, episode: EpisodeRow | None) -> str | None:
    """Why a training that refreshes a change in shadow is for nothing: that change was decided meanwhile. None of any other training.

    A recipe that was rejected must not come back by itself.
    """
    if episode is None or episode.cause != CHALLENGER:
        return None
    version = str(episode.diagnosis["version"])
    if (change := _change(loop)) is not None and version in (change.version, *change.continues):
        return None
    ended = next((row for row in loop.store.releases(loop.name) if row.version == version), None)
    became = f": {ended.outcome}, {ended.reason}" if ended is not None else ""
    return f"the change in shadow that it refreshes, version {version}, was decided meanwhile{became}"


def _change(loop: Loop) -> ReleaseRow | None:
    unpromoted = loop.store.releases(loop.name, states=("shadow", "approval"))
    return next((row for row in reversed(unpromoted) if row.lane == "change"), None)
