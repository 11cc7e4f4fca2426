"""Learning that stands still: a sign that lasts, and a training that is overdue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from updraft.alerts.alert import Alert

ENDED = "training_ended"
"""The incident of trainings that were called for and brought nothing, until a training brings a model; its parts are their episodes."""
OVERDUE = "training_overdue"
"""The incident of a project that does not learn; it has one part."""


def lasting_incident(name: str) -> str:
    """The incident of a sign that lasts: open until a person has answered, or the sign shows no more.

    :param name: of the sign, as :func:`lasting_sign` takes it.
    """
    return f"lasting_sign:{name}"


def lasting_sign(
    project: str,
    *,
    sign: str,
    name: str,
    fault: str,
    since: str,
    key: str,
    partitions: int,
    asked: int,
    accept: str,
    links: Mapping[str, str] | None = None,
) -> Alert:
    """A sign of a broken feed has kept out several partitions in a row: fault, or how the feed is now? A person has to say.

    :param sign: in words, such as "nulls of temp"; :param name: the same for code, which names the question.
    :param fault: what was seen last, in words.
    :param since: the first partition of the run; :param partitions: how many there are by now.
    :param asked: how often the question is put with this one.
    :param accept: the command that says that it is no fault.
    """
    return Alert(
        project=project,
        kind="approval",
        entry="lasting_sign",
        dedup=f"lasting:{since}:{asked}:{name}",
        incident=lasting_incident(name),
        part=since,
        title=f"Fault or the new normal: {sign}?",
        text=f"{fault.rstrip('.')}. It has been so since {since}: {partitions} partitions in a row are kept out of every training.",
        does="They are scored as ever. No training, reference or calibration layer learns from them until one of the two is done; "
        f"this question comes again after {partitions} more.",
        needs=f"If that is how the data are from now on: {accept} (--undo takes it back). "
        f"If it is a fault: mend the source, then clear the runs of {project}.ingest from {since} on.",
        key=key,
        links=links or {},
    )


def training_overdue(
    project: str,
    *,
    last: str | None,
    key: str,
    partitions: int,
    limit: int,
    told: int,
    holding_back: Sequence[str],
    links: Mapping[str, str] | None = None,
) -> Alert:
    """No training has brought a model for longer than the policy lets pass.

    :param last: the tick of the last one; None when there was none.
    :param partitions: that were ingested since, of which ``limit`` may pass.
    :param told: how often it is told with this one.
    :param holding_back: what the store shows to be in the way, a sentence each.
    """
    since = (
        f"The last training was at {last}, {partitions} partitions ago"
        if last
        else f"No training in {partitions} partitions"
    )
    return Alert(
        project=project,
        kind="failure",
        entry="training_overdue",
        dedup=f"overdue:{last or 'never'}:{told}",
        incident=OVERDUE,
        part=OVERDUE,
        title="No training for too long",
        text=f"{since}; the policy lets {limit} pass. What holds it back: {'; '.join(holding_back)}.",
        does=f"The model that serves goes on and grows older. This is told again when {limit << told} have passed.",
        needs=f"Clear what is in the way; `updraft status {project}` says what is left of it. If so few trainings are right, say so in "
        "alerts.training_older_than.",
        key=key,
        links=links or {},
    )
