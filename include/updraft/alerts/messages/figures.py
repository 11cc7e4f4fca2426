"""A business figure of a partition that lies beyond its limit."""

from __future__ import annotations

from collections.abc import Mapping

from updraft.alerts.alert import Alert


def figure_limit(
    project: str,
    *,
    key: str,
    version: str,
    rows: int,
    breaches: Mapping[str, str],
    links: Mapping[str, str] | None = None,
) -> Alert:
    """Figures of a partition, all of whose labels are known, do not hold their limits.

    :param version: that served; :param rows: scored rows with labels.
    :param breaches: by the name of a figure, what is wrong, as the end of a sentence.
    """
    names = ", ".join(breaches)
    more = "" if len(breaches) == 1 else "s"
    return Alert(
        project=project,
        kind="drift",
        entry="figure_limit",
        dedup=f"figures:{key}",
        title=f"Business figure{more} beyond the limit: {names}",
        text=f"Of partition {key}, {rows:,} rows that version {version} scored and whose labels are all known.",
        detail="\n".join(f"{name} {breach}" for name, breach in breaches.items()),
        does="Nothing follows from it by itself: what serves goes on, and remedies follow the loss.",
        needs=f"Look at the loss of the same partition. If the model is what costs: `updraft rollback {project} --reason WHY`, or a training by the "
        f"form of {project}.train. If the limit or the expression is wrong, correct monitoring.figures in project.yaml.",
        key=key,
        links=links or {},
    )
