"""What on-call hears of business figures."""

from __future__ import annotations

from updraft.alerts import messages
from updraft.loop.alerting.links import partition_url
from updraft.loop.alerting.telling import never_fails, record
from updraft.loop.context import Loop
from updraft.monitoring.figures import Figured
from updraft.store.records import FiguresRow


@never_fails
def figures_broken(loop: Loop, figures: FiguresRow) -> None:
    """Tell once of a partition whose figures do not hold their limits."""
    told = {name: Figured(**figure).breach for name, figure in figures.figures.items()}
    breaches = {name: breach for name, breach in told.items() if breach is not None}
    if not breaches:
        return
    alert = messages.figure_limit(
        loop.name,
        key=figures.key,
        version=figures.version,
        rows=figures.rows,
        breaches=breaches,
        links={"Partition": partition_url(loop, figures.key)},
    )
    record(loop, alert)
