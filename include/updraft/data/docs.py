"""Data docs: one self-contained page per partition, a page per month, and an index of the months. They show checks, which hold nothing private.

What a partition costs here does not grow with the history: its month alone is written anew.
"""

from __future__ import annotations

from typing import Any

from updraft import files
from updraft.data.checks import Checks
from updraft.spec.model import Project

_INDEX_PAGE, _INDEX_FILE = "index.html", "index.json"


def page(base: str, key: str) -> str:
    """URL of a partition's page; ``base`` is the project's folder in the lake."""
    return f"{base}/docs/{key}/index.html"


def write(project: Project, base: str, checks: Checks) -> str:
    """Write a partition's page, its month's and the index; the page's URL."""
    from updraft.data import docs_templates

    _split_by_month(project, base)
    url, month = page(base, checks.key), _month(checks.key)
    folder = f"{base}/docs/months/{month}"
    refused = _refused(f"{folder}/{checks.key}.json", checks)
    past = [rules for rules in refused if rules != list(checks.refusals)]
    content = docs_templates.PAGE.render(**checks.to_dict(), month=month, past=past)
    files.write_bytes(url, content.encode())
    row_source = next(iter(project.spec.data.sources))
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
    files.write_json(f"{folder}/{checks.key}.json", summary)
    partitions = _brought_up_to_date(folder, checks.key, summary)
    _write_month(project, base, month, partitions)
    months = _months(base, month, partitions)
    content = docs_templates.INDEX.render(project=project.name, months=sorted(months.items(), reverse=True))
    files.write_bytes(f"{base}/docs/{_INDEX_PAGE}", content.encode())
    return url


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


def _write_month(project: Project, base: str, month: str, partitions: dict[str, Any]) -> None:
    from updraft.data import docs_templates

    listed = sorted(partitions.items(), reverse=True)
    content = docs_templates.MONTH.render(project=project.name, month=month, partitions=listed)
    files.write_bytes(f"{base}/docs/months/{month}/{_INDEX_PAGE}", content.encode())


def _split_by_month(project: Project, base: str) -> None:
    """Bring the index of earlier versions, one file of all partitions, into the months. It goes last: killed before, it is split again."""
    whole = f"{base}/docs/{_INDEX_FILE}"
    if not files.exists(whole):
        return
    by_month: dict[str, dict[str, Any]] = {}
    for key, summary in files.read_json(whole).items():
        files.write_json(f"{base}/docs/months/{_month(key)}/{key}.json", summary)
        by_month.setdefault(_month(key), {})[key] = summary
    for month, partitions in by_month.items():
        url = f"{base}/docs/months/{month}/{_INDEX_FILE}"
        whole_month = partitions | (files.read_json(url) if files.exists(url) else {})
        files.write_json(url, whole_month)
        _write_month(project, base, month, whole_month)
    files.remove(whole)


def _brought_up_to_date(folder: str, key: str, summary: dict[str, Any]) -> dict[str, Any]:
    """The summaries of a month by partition: what its index lacks (a parallel run may have written over it) is read from their files."""
    url = f"{folder}/{_INDEX_FILE}"
    index: dict[str, Any] = files.read_json(url) if files.exists(url) else {}
    names = set(files.names_below(folder)) - {_INDEX_FILE, _INDEX_PAGE, f"{key}.json"}
    for name in names - {f"{known}.json" for known in index}:
        if name.endswith(".json"):  # no file that is being written aside
            index[name.removesuffix(".json")] = files.read_json(f"{folder}/{name}")
    index[key] = summary
    files.write_json(url, index)
    return index


def _months(base: str, month: str, partitions: dict[str, Any]) -> dict[str, Any]:
    """The sums of every month; those of a month that the index lacks are made from that month's own index."""
    url = f"{base}/docs/months/{_INDEX_FILE}"
    months: dict[str, Any] = files.read_json(url) if files.exists(url) else {}
    for lost in set(files.names_below(f"{base}/docs/months")) - set(months) - {month, _INDEX_FILE}:
        index_of_month = f"{base}/docs/months/{lost}/{_INDEX_FILE}"
        if files.exists(index_of_month):
            months[lost] = _sums(files.read_json(index_of_month))
    months[month] = _sums(partitions)
    files.write_json(url, months)
    return months


def _sums(partitions: dict[str, Any]) -> dict[str, int]:
    summaries = partitions.values()
    return {
        "partitions": len(partitions),
        "refused": sum(summary["state"] == "refused" for summary in summaries),
        "rows": sum(summary["rows"] for summary in summaries),
        "quarantined": sum(summary["quarantined"] for summary in summaries),
    }
