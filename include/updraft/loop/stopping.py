"""A person stops a project's remedies, and lets them go on: no training starts and no layer is refitted meanwhile.

What serves goes on serving and is measured, a broken feed is still kept out, and open releases go on: their evidence does not wait.
"""

from __future__ import annotations

from updraft.errors import InputError
from updraft.store.records import Decision
from updraft.store.store import Store

REMEDIES = "remedies"
"""Kind of the decision that remedies are stopped (``stopped``), or go on."""


def stopped_remedies(store: Store, project: str) -> Decision | None:
    """The decision by which a project's remedies are stopped; None while they are not."""
    newest = store.newest_decisions(project, (REMEDIES,), 1)
    return newest[0] if newest and newest[0].body["stopped"] else None


def stop_remedies(store: Store, project: str, *, by: str, reason: str) -> bool:
    """Stop the remedies of a project from now on. Said twice, it is one decision.

    :return: whether they went on until now.
    :raises InputError: when no reason is given.
    """
    return _decide(store, project, stopped=True, by=by, reason=reason)


def resume_remedies(store: Store, project: str, *, by: str, reason: str) -> bool:
    """Let the remedies of a project go on. Said twice, it is one decision.

    :return: whether they were stopped until now.
    :raises InputError: when no reason is given.
    """
    return _decide(store, project, stopped=False, by=by, reason=reason)


def _decide(store: Store, project: str, *, stopped: bool, by: str, reason: str) -> bool:
    if not reason.strip():
        raise InputError(f"{project}: give a reason: it is kept in the decision")
    key = store.newest_partition(project, state=None) or ""
    with store.writing(project) as writing:
        newest = store.newest_decisions(project, (REMEDIES,), 1)
        if bool(newest and newest[0].body["stopped"]) == stopped:
            return False
        number = int(newest[0].subject.rpartition(" ")[2]) + 1 if newest else 1  # stopped, resumed, and stopped again
        body = {"stopped": stopped, "by": by, "reason": reason}
        store.append(writing, project, key=key, kind=REMEDIES, subject=f"remedies {number}", body=body)
    return True
