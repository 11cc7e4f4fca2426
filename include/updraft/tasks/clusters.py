"""How many clusters are evidence. A cluster is the unit of evidence (`release.cluster`): its rows share what happened to it."""

from __future__ import annotations

FEWEST_CLUSTERS = 5
"""Clusters below which a layer, a gate or a trial decides nothing. Were two models equal, four clusters would all point to one side by
chance once in sixteen times, five once in 32: five is the least number whose agreement is rarer than the 5 % by which a trial may err. And
how much clusters differ, which every standard error rests on, is not known at all from a single one."""
FIRST_LOOK = 7
"""Clusters before the bound of a release says anything: fewer do not show how much gains vary, at look after look."""


def counted(clusters: int) -> str:
    """A number of clusters in words."""
    return f"{clusters} cluster{'' if clusters == 1 else 's'}"


def too_few(clusters: int) -> str | None:
    """Why so many clusters decide nothing; None when they are enough."""
    if clusters >= FEWEST_CLUSTERS:
        return None
    return f"{counted(clusters)}, too few to show anything (the least is {FEWEST_CLUSTERS})"
