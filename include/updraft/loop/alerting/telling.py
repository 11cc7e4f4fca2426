"""How the loop tells: telling never fails whoever tells."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Concatenate, ParamSpec

from updraft.alerts import messages, untold
from updraft.alerts.alert import Alert
from updraft.loop.alerting.links import project_url
from updraft.loop.context import Loop

log = logging.getLogger(__name__)
_P = ParamSpec("_P")


def record(loop: Loop, alert: Alert) -> None:
    """Put an alert into the outbox; one that the store does not take is kept beside it. One that leads nowhere leads to the project's page."""
    if loop.settings.airflow and not alert.links:
        alert = replace(alert, links={"Project": project_url(loop)})
    untold.record_or_keep(lambda: loop.store.engine, loop.settings.home, alert)


def never_fails(tell: Callable[Concatenate[Loop, _P], None]) -> Callable[Concatenate[Loop, _P], None]:
    """Log what goes wrong in telling, and tell at least that the event happened. The first argument names its subject."""

    @wraps(tell)
    def telling(loop: Loop, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            tell(loop, *args, **kwargs)
        except Exception as error:
            what = tell.__name__.replace("_", " ")
            log.exception("%s: %s could not be told in full", loop.name, what)
            subject = next(iter((*args, *kwargs.values())), "")
            name = subject if isinstance(subject, str) else getattr(subject, "id", None) or getattr(subject, "key", "")
            record(loop, messages.untold(loop.name, what=what, subject=str(name), error=type(error).__name__))

    return telling


@never_fails
def tampered(loop: Loop, what: str, where: str, error: str) -> None:
    """Something signed is not what it was."""
    record(loop, messages.tampered(loop.name, what=what, where=where, error=error))
