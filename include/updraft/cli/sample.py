"""What ``updraft validate --data`` says of a file."""

from __future__ import annotations

from collections.abc import Iterator

from updraft.alerts.alert import cleaned
from updraft.cli.edge import console
from updraft.data.sample import SampleJudged, TriedPartition

_ORIGINS = {
    "stated": "stated in the contract",
    "role": "by what the project uses it for",
    "inferred": "pinned by an earlier file",
    "new": "told by this file",
}


def show_sample(project: str, judged: SampleJudged) -> None:
    """Print what the contract would do to a sample."""
    console.print(cleaned(f"{project}: {judged.file}: {_headline(judged)}"), markup=False, soft_wrap=True)
    for line in _lines(judged):
        console.print(cleaned(f"  {line}"), markup=False, soft_wrap=True)


def _headline(judged: SampleJudged) -> str:
    rows = sum(partition.rows for partition in judged.partitions)
    published = sum(partition.published for partition in judged.partitions)
    counts = [f"{judged.rows:,} rows read", f"{published:,} of {rows:,} would be published"]
    counts += [f"{judged.timeless:,} without a time"] if judged.timeless else []
    counts += [f"{judged.outside:,} before data.start or after data.end"] if judged.outside else []
    counts += [f"{judged.untried:,} in older partitions, which were not tried"] if judged.untried else []
    return ", ".join(counts)


def _lines(judged: SampleJudged) -> Iterator[str]:
    yield from judged.problems
    for partition in judged.partitions:
        yield f"partition {partition.key}: {_became(partition)}"
        yield from (f"  {refusal}" for refusal in partition.refusals)
        yield from (f"  {reason}: {count:,}" for reason, count in partition.reasons.items())
        for expectation, examples in partition.examples.items():
            yield f"  such as {'; '.join(examples)}, in breach of {expectation}"
    if judged.columns:
        yield "columns:"
    width = max((len(column.column) for column in judged.columns), default=0)
    for column in judged.columns:
        yield f"  {column.column:<{width}}  {column.kind:<8} {_ORIGINS[column.origin]}; published: {column.published}"
    yield from judged.notes


def _became(partition: TriedPartition) -> str:
    if partition.state == "published":
        return f"{partition.published:,} of {partition.rows:,} rows would be published, {partition.quarantined:,} quarantined"
    if partition.state == "waits":
        return "would wait for a file that is not there"
    return f"would be {partition.state}, {partition.quarantined:,} of {partition.rows:,} rows in breach"
