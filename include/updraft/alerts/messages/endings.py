"""How releases and episodes end beside a verdict: superseded, reinstated, without a judgement, failed."""

from __future__ import annotations

from collections.abc import Mapping

from updraft.alerts.alert import Alert
from updraft.alerts.messages.learning import ENDED
from updraft.alerts.words import gained


def superseded(
    project: str,
    *,
    release: str,
    version: str,
    key: str,
    reason: str,
    was: str,
    continued_by: str | None = None,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """A release ended as another one took its place.

    :param was: the state that it was in: ``shadow``, ``approval`` or ``probation``.
    :param continued_by: the version of the same recipe that goes on with its evidence; None when its evidence counts no more.
    """
    does = {
        "approval": "The question about it is withdrawn: Updraft answers it in Airflow. An answer that comes all the same changes nothing.",
        "probation": "What served before it leaves the shadow: it is not known whether this version was worse.",
    }.get(was, "It leaves the shadow; the model that serves stays.")
    if continued_by is not None:
        withdrawn = does if was == "approval" else "It leaves the shadow."
        does = f"{withdrawn} Version {continued_by} takes its place there, with the evidence so far."
    return Alert(
        project=project,
        kind="verdict",
        entry="superseded",
        dedup=f"superseded:{release}",
        title=f"Version {version}: {reason}",
        text=f"Version {version} was in {was}, and its release is closed: {reason.rstrip('.')}.",
        does=does,
        needs="Train the change anew if it is still wanted." if was == "approval" and continued_by is None else "",
        thread=thread or release,
        key=key,
        links=links or {},
    )


def unjudged(
    project: str,
    *,
    release: str,
    version: str,
    against: str,
    key: str,
    reason: str,
    clusters: int,
    gain: float,
    low: float,
    high: float,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """A probation is over, and nobody knows whether the version is worse than the one before."""
    return Alert(
        project=project,
        kind="verdict",
        entry="unjudged",
        dedup=f"unjudged:{release}",
        title=f"Version {version} is kept, and could not be judged",
        text=f"{reason.rstrip('.')}. {gained(against, gain, low, high, clusters)}",
        does="It goes on serving, as it was not shown worse; the version before leaves the shadow.",
        needs="Look at both versions' losses. To judge the next one: raise release.refresh.probation_at_most, allow a larger release.margin, or "
        f"retrain less often. `updraft rollback {project} --reason WHY` shows the two side by side before it asks.",
        thread=thread or release,
        key=key,
        links=links or {},
    )


def reinstated(
    project: str,
    *,
    release: str,
    subject: str,
    version: str,
    previous: str,
    key: str,
    reason: str,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """A version that was taken back serves again.

    :param subject: of the decision: a version may be reinstated more than once.
    """
    return Alert(
        project=project,
        kind="rollback",
        entry="reinstated",
        dedup=f"reinstated:{subject}",
        title=f"Version {version} was reinstated",
        text=f"Version {version}, which was taken back, serves again in place of version {previous}: {reason.rstrip('.')}.",
        does=f"Version {version} serves from the next partition on. Predictions made so far keep their version.",
        thread=thread or release,
        key=key,
        links=links or {},
    )


def training_ended(project: str, *, episode: str, key: str, why: str, links: Mapping[str, str] | None = None) -> Alert:
    """The training that an episode called for brings no model."""
    return Alert(
        project=project,
        kind="failure",
        entry="training_ended",
        dedup=f"training_ended:{episode}",
        incident=ENDED,
        part=episode,
        title="A training that was called for brought nothing",
        text=f"Episode {episode} is closed: {why.rstrip('.')}.",
        does="The model that serves stays. The next training is called for as the policy says, after its cooldown.",
        needs="See why it failed; a run that is mended still counts.",
        thread=episode,
        key=key,
        links=links or {},
    )
