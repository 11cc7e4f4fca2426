"""The picture of a release's evidence: the bound over time."""

from __future__ import annotations

from updraft import files
from updraft.loop.context import Loop
from updraft.release.picture import evidence_picture
from updraft.release.verdict import ClusterGain


def gains(loop: Loop, release: str) -> list[ClusterGain]:
    """The clusters of a release, in the order in which they came."""
    return [
        ClusterGain(row.cluster, row.key, row.rows, row.gain, row.slices, row.against)
        for row in loop.store.evidence(loop.name, release)
    ]


def picture_url(loop: Loop, release: str) -> str:
    """Where the picture of a release is."""
    return loop.lake.evidence(release)


def write_picture(loop: Loop, release: str) -> str | None:
    """Draw the evidence so far; its URL, None when there is none."""
    clusters = gains(loop, release)
    if not clusters:
        return None
    url = picture_url(loop, release)
    policy = loop.spec.release
    title = f"{release}: gain in {policy.metric} per {policy.cluster}"
    files.write_bytes(url, evidence_picture(clusters, policy, title=title))
    return url
