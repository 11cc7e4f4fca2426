"""The picture of a release's evidence: the bound over time."""

from __future__ import annotations

from updraft import files
from updraft.loop.context import Loop
from updraft.release.picture import evidence_picture
from updraft.release.verdict import ClusterGain
from updraft.store.records import ReleaseRow


def gains(loop: Loop, release: str) -> list[ClusterGain]:
    """The clusters of a release, in the order in which they came."""
    return [
        ClusterGain(row.cluster, row.key, row.rows, row.gain, row.slices)
        for row in loop.store.evidence(loop.name, release)
    ]


def counted_from(loop: Loop, row: ReleaseRow) -> str | None:
    """The tick after which the evidence of a change counts; None when all of it does.

    It is about what serves. So it counts anew when another version begins to serve: the gain over the one before says nothing of that.
    """
    since = loop.store.serving(loop.name).since
    unpromoted = row.state in ("shadow", "approval") and row.lane == "change"
    return since if unpromoted and since is not None and since > row.opened_at else None


def counted_gains(loop: Loop, row: ReleaseRow) -> list[ClusterGain]:
    """The clusters of a release that count, in the order in which they came."""
    since = counted_from(loop, row)
    return [gain for gain in gains(loop, row.id) if since is None or gain.key > since]


def picture_url(loop: Loop, release: str) -> str:
    """Where the picture of a release is."""
    return loop.lake.evidence(release)


def write_picture(loop: Loop, release: str) -> str | None:
    """Draw the evidence so far; its URL, None when there is none."""
    clusters = counted_gains(loop, loop.store.release(release))
    if not clusters:
        return None
    url = picture_url(loop, release)
    policy = loop.spec.release
    title = f"{release}: gain in {policy.metric} per {policy.cluster}"
    files.write_bytes(url, evidence_picture(clusters, policy, title=title))
    return url
