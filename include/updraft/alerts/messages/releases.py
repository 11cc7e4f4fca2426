"""A version's way from its training to its end: trained or refused, judged, approved, promoted, rolled back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from updraft.alerts.alert import Alert
from updraft.alerts.words import VERDICTS, gained

QUESTION = "approval"
"""The incident of releases that wait for a person: over when the release is answered, or closed."""


def trained(
    project: str,
    *,
    run: str,
    key: str,
    version: str,
    summary: str,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """A training has passed its gates and was registered.

    :param summary: the gates' result in one sentence.
    """
    return Alert(
        project=project,
        kind="verdict",
        entry="trained",
        dedup=f"trained:{run}:{version}",
        title=f"Version {version} was trained",
        text=summary,
        does="It is signed and registered; its release starts now.",
        thread=thread,
        key=key,
        links=links or {},
    )


def refused_model(
    project: str,
    *,
    run: str,
    key: str,
    reasons: Sequence[str],
    version: str | None = None,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """A training has not passed its gates."""
    return Alert(
        project=project,
        kind="verdict",
        entry="refused_model",
        dedup=f"refused_model:{run}:{version or ''}",
        title=f"Version {version} was refused" if version else "The new model was refused",
        text="The new model did not pass the gates.",
        detail="\n".join(reasons),
        does="The model that serves stays. The refused one stays in MLflow with its reasons.",
        thread=thread,
        key=key,
        links=links or {},
    )


def verdict(
    project: str,
    *,
    release: str,
    version: str,
    against: str,
    key: str,
    verdict: Literal["promote", "hold", "reject", "roll_back", "keep"],
    reason: str,
    clusters: int,
    gain: float,
    low: float,
    high: float,
    asks: bool = False,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """The evidence on a release has spoken. One alert for each verdict of a release, whatever the partition.

    :param asks: whether a person has to approve it before it is promoted.
    :param thread: the episode that the release belongs to, when there is one.
    :param gain: mean gain in loss of ``version`` over ``against``; ``low`` and ``high`` bound it at every look.
    """
    does, needs = VERDICTS["ask" if asks and verdict == "promote" else verdict]
    return Alert(
        project=project,
        kind="verdict",
        entry="verdict",
        dedup=f"verdict:{release}:{verdict}",
        title=f"Version {version}: {verdict.replace('_', ' ')}",
        text=f"{reason.rstrip('.')}. {gained(against, gain, low, high, clusters)}",
        does=does,
        needs=needs,
        thread=thread or release,
        key=key,
        links=links or {},
    )


def approval(
    project: str,
    *,
    release: str,
    version: str,
    reason: str,
    until: str,
    key: str | None = None,
    link: str = "",
    thread: str | None = None,
) -> Alert:
    """A person has to approve a release.

    :param until: when the question is answered with a rejection, in words.
    :param link: where to answer.
    """
    return Alert(
        project=project,
        kind="approval",
        entry="approval",
        dedup=f"approval:{release}",
        incident=QUESTION,
        part=release,
        title=f"Version {version} waits for your approval",
        text=reason,
        does=f"It stays in shadow; the model that serves stays. Without an answer it is rejected {until}.",
        needs="Look at the evidence, then approve or reject.",
        thread=thread or release,
        key=key,
        links={"Approve or reject": link},
    )


def promotion(
    project: str,
    *,
    release: str,
    lane: Literal["refresh", "change"],
    version: str,
    previous: str | None,
    key: str,
    reason: str,
    probation: int = 0,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """A version has become the champion.

    :param probation: partitions for which the previous champion stays in shadow.
    """
    if previous is None:
        does = "It is the first model of the project: scoring starts with the next partition."
    elif probation:
        does = (
            f"Version {previous} stays in shadow for at least {probation} partitions; "
            "if the new version is shown worse, it is rolled back by itself."
        )
    else:
        does = f"Version {previous} stays at hand as `previous`."
    return Alert(
        project=project,
        kind="verdict",
        entry="promotion",
        dedup=f"promotion:{release}",
        title=f"Version {version} serves now",
        text=f"{lane.capitalize()} {release} was promoted: {reason.rstrip('.')}.",
        does=does,
        thread=thread or release,
        key=key,
        links=links or {},
    )


def rollback(
    project: str,
    *,
    release: str,
    version: str,
    to: str,
    key: str,
    reason: str,
    by: str | None = None,
    thread: str | None = None,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """The version before serves again.

    :param by: who asked for it; None when Updraft did it by itself.
    """
    return Alert(
        project=project,
        kind="rollback",
        entry="rollback",
        dedup=f"rollback:{release}",
        title=f"Rolled back to version {to}",
        text=f"Version {version} was taken back{f' by {by}' if by else ''}: {reason.rstrip('.')}.",
        does=f"Version {to} serves from the next partition on. Predictions made so far keep their version.",
        needs="" if by else "Find out what it had learnt, before the next training learns the same.",
        thread=thread or release,
        key=key,
        links=links or {},
    )
