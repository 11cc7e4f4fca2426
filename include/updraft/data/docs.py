"""Data docs: one self-contained page per partition, a page per month, and an index of the months. They show checks, which hold nothing private.

What a partition costs here does not grow with the history: its month alone is written anew.
"""

from __future__ import annotations

from typing import Any

from updraft import files
from updraft.data.checks import Checks
from updraft.lake.places import DOCS_PAGE, DOCS_SUMS, DocsIndex, Lake


def write(lake: Lake, checks: Checks, *, row_source: str) -> None:
    """Write a partition's page, its month's and the index.

    :param row_source: the source that gives the rows, which are counted.
    """
    from updraft.data import docs_templates

    _split_by_month(lake)
    month = _month(checks.key)
    index = lake.docs_month(month)
    refused = _refused(index.summary(checks.key), checks)
    past = [rules for rules in refused if rules != list(checks.refusals)]
    content = docs_templates.PAGE.render(**checks.to_dict(), month=month, past=past)
    files.write_bytes(lake.docs(checks.key), content.encode())
    summary = {
        "state": checks.state,
        "rows": checks.sources[row_source].rows,
        "quarantined": checks.quarantined,
        "refused": refused,
        "failed": [
            f"{name}: {check.expectation}"
            for name, source in checks.sources.items()
            for check in source.checks
            if not check.success
        ],
    }
    files.write_json(index.summary(checks.key), summary)
    partitions = _brought_up_to_date(index, checks.key, summary)
    _write_month(lake, month, partitions)
    months = _months(lake, month, partitions)
    content = docs_templates.INDEX.render(project=lake.project, months=sorted(months.items(), reverse=True))
    files.write_bytes(lake.docs_index, content.encode())


def _refused(url: str, checks: Checks) -> list[list[str]]:
    """Why the partition was refused, each time for other reasons, this time included: a refusal stays when it is mended."""
    before: dict[str, Any] = files.read_json(url) if files.exists(url) else {}
    refused = [list(rules) for rules in before.get("refused", ())]
    if before.get("state") == "refused" and not refused:  # written by an earlier version
        refused.append(list(before["failed"]))
    now = list(checks.refusals)
    return [*refused, *([now] if now and now not in refused else [])]


def _month(key: str) -> str:
    return key[: len("2013-01")]


def _write_month(lake: Lake, month: str, partitions: dict[str, Any]) -> None:
    from updraft.data import docs_templates

    listed = sorted(partitions.items(), reverse=True)
    content = docs_templates.MONTH.render(project=lake.project, month=month, partitions=listed)
    files.write_bytes(lake.docs_month(month).page, content.encode())


def _split_by_month(lake: Lake) -> None:
    """Bring the index of earlier versions, one file of all partitions, into the months. It goes last: killed before, it is split again."""
    whole = lake.docs_of_earlier_versions
    if not files.exists(whole):
        return
    by_month: dict[str, dict[str, Any]] = {}
    for key, summary in files.read_json(whole).items():
        files.write_json(lake.docs_month(_month(key)).summary(key), summary)
        by_month.setdefault(_month(key), {})[key] = summary
    for month, partitions in by_month.items():
        url = lake.docs_month(month).sums
        whole_month = partitions | (files.read_json(url) if files.exists(url) else {})
        files.write_json(url, whole_month)
        _write_month(lake, month, whole_month)
    files.remove(whole)


def _brought_up_to_date(month: DocsIndex, key: str, summary: dict[str, Any]) -> dict[str, Any]:
    """The summaries of a month by partition: what its index lacks (a parallel run may have written over it) is read from their files."""
    index: dict[str, Any] = files.read_json(month.sums) if files.exists(month.sums) else {}
    names = set(files.names_below(month.url)) - {DOCS_SUMS, DOCS_PAGE, f"{key}.json"}
    for name in names - {f"{known}.json" for known in index}:
        if name.endswith(".json"):  # no file that is being written aside
            partition = name.removesuffix(".json")
            index[partition] = files.read_json(month.summary(partition))
    index[key] = summary
    files.write_json(month.sums, index)
    return index


def _months(lake: Lake, month: str, partitions: dict[str, Any]) -> dict[str, Any]:
    """The sums of every month; those of a month that the index lacks are made from that month's own index."""
    index = lake.docs_months
    months: dict[str, Any] = files.read_json(index.sums) if files.exists(index.sums) else {}
    for lost in set(files.names_below(index.url)) - set(months) - {month, DOCS_SUMS}:
        sums_of_month = lake.docs_month(lost).sums
        if files.exists(sums_of_month):
            months[lost] = _sums(files.read_json(sums_of_month))
    months[month] = _sums(partitions)
    files.write_json(index.sums, months)
    return months


def _sums(partitions: dict[str, Any]) -> dict[str, int]:
    summaries = partitions.values()
    return {
        "partitions": len(partitions),
        "refused": sum(summary["state"] == "refused" for summary in summaries),
        "rows": sum(summary["rows"] for summary in summaries),
        "quarantined": sum(summary["quarantined"] for summary in summaries),
    }
