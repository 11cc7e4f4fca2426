"""What a policy's windows hold of evidence, in words, and what can never be decided with it."""

from __future__ import annotations

from dataclasses import dataclass

from updraft.spec.cluster_defaults import clusters_per_partition, partitions_with, partitions_without_labels
from updraft.spec.model import ProjectSpec
from updraft.tasks.clusters import FEWEST_CLUSTERS, FIRST_LOOK, counted


def evidence_words(spec: ProjectSpec) -> str:
    """By which clusters the project decides, and how many of them a holdout holds."""
    cluster, holdout = spec.release.cluster, spec.release.refresh.holdout
    per_partition = clusters_per_partition(spec.data.schedule, cluster)
    if per_partition is None:
        return f"by column {cluster}; {FEWEST_CLUSTERS} of its values are the least that decides anything"
    held = int(holdout * per_partition)
    return f"by {cluster}; a holdout of {holdout} partitions holds {counted(held)}, and {FEWEST_CLUSTERS} are the least that decides anything"


def undecidable(spec: ProjectSpec) -> list[str]:
    """What a policy asks for and can never be decided, as its partitions hold too few clusters; with what to write instead."""
    release = spec.release
    per_partition = clusters_per_partition(spec.data.schedule, release.cluster)
    if per_partition is None:
        return []
    late = partitions_without_labels(spec.data.schedule, spec.data.label.matures_after)
    holdout, shadow, probation = (
        release.refresh.holdout,
        release.change.shadow.at_most,
        release.refresh.longest_probation,
    )
    windows = [
        _Window("release.refresh.holdout", holdout, holdout, FEWEST_CLUSTERS, _NO_TRIAL),
        _Window("release.change.shadow.at_most", shadow, shadow - late, FIRST_LOOK, "no change can be shown better"),
    ]
    if probation:
        retrain = spec.monitoring.remedies.retrain
        lasts = min(probation, (retrain and retrain.every) or probation)  # the next refresh ends it
        words = "no refresh can be shown worse and rolled back, nor shown to be no worse"
        windows.append(_Window("release.refresh.probation_at_most", lasts, lasts - late, FIRST_LOOK, words))
    if (recalibrate := spec.monitoring.remedies.recalibrate) is not None:
        window, words = recalibrate.window, "no calibration layer is put in force"
        windows.append(_Window("monitoring.remedies.recalibrate.window", window, window, FEWEST_CLUSTERS, words))
    return [
        f"{window.key} = {window.partitions} holds {counted(max(0, int(window.labelled * per_partition)))}"
        f"{' with labels' if window.labelled != window.partitions else ''} ({release.cluster}), fewer than {window.least}: {window.words}; "
        f"write {partitions_with(window.least, per_partition) + window.partitions - window.labelled} or more, or a finer release.cluster"
        for window in windows
        if window.labelled * per_partition < window.least
    ]


_NO_TRIAL = "no refit trial can call for a training, and no gate compares a model with the champion"


@dataclass(frozen=True)
class _Window:
    """Partitions in which something is decided."""

    key: str
    partitions: int
    labelled: int
    """Of them those whose labels have matured by the end."""
    least: int
    """Clusters."""
    words: str
    """What does not happen with fewer."""
