"""Data docs: one self-contained page per partition, and an index. They show checks, which hold nothing private."""

from __future__ import annotations

from typing import Any

from updraft import files
from updraft.data.checks import Checks
from updraft.spec.model import Project

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2733;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #dde3ea;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:.9em}
.passed,.yes{color:#0a6b3d}.refused,.no{color:#b3261e;font-weight:600}.empty{color:#5d6b7a}.dim{color:#5d6b7a}
.box{background:#fdecea;border-left:4px solid #b3261e;padding:.6rem 1rem;margin:1rem 0}
@media(prefers-color-scheme:dark){body{background:#12181f;color:#dfe6ee}th,td{border-color:#2b3642}.box{background:#3a1b19}
.passed,.yes{color:#5fd29a}.refused,.no{color:#ff8a80}.dim,.empty{color:#93a1b0}a{color:#8ab8ff}}
"""

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{{ project }} {{ key }}: data docs</title>
<style>{{ style }}</style></head><body>
<p><a href="../index.html">{{ project }}</a></p>
<h1>Partition {{ key }}: <span class="{{ state }}">{{ state }}</span></h1>
{% if refusals %}<div class="box"><ul>{% for text in refusals %}<li>{{ text }}</li>{% endfor %}</ul></div>{% endif %}
{% for name, source in sources.items() %}
<h2>{{ name }}</h2>
<p>{{ source.rows }} rows, {{ source.quarantined }} quarantined
{% if source.joined is not none %}, joined by {{ "%.1f"|format(100 * source.joined) }} % of the rows{% endif %}</p>
{% if source.reasons %}<table><tr><th>Why rows were quarantined</th><th>Rows</th></tr>
{% for why, count in source.reasons.items() %}<tr><td>{{ why }}</td><td class="n">{{ count }}</td></tr>{% endfor %}
</table>{% endif %}
{% if source.checks %}<table><tr><th>Expectation</th><th>Breach</th><th>Holds</th>
<th>Observed</th><th>Rows in breach</th><th>Examples</th></tr>
{% for check in source.checks %}<tr><td><code>{{ check.expectation }}</code></td>
<td>{{ "quarantines the row" if check.kind == "row" else "refuses the partition" }}</td>
<td class="{{ 'yes' if check.success else 'no' }}">{{ "yes" if check.success else "no" }}</td>
<td>{{ "" if check.observed is none else check.observed }}</td><td class="n">{{ check.unexpected or "" }}</td>
<td><code>{{ check.examples|join(" · ") }}</code></td></tr>{% endfor %}</table>{% endif %}
{% endfor %}</body></html>
"""

_INDEX = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{{ project }}: data docs</title>
<style>{{ style }}</style></head><body><h1>{{ project }}: data docs</h1>
<p class="dim">The data contract, partition by partition.</p>
<table><tr><th>Partition</th><th>State</th><th>Rows</th><th>Quarantined</th><th>Checks that failed</th></tr>
{% for key, each in partitions %}<tr><td><a href="{{ key }}/index.html">{{ key }}</a></td>
<td class="{{ each.state }}">{{ each.state }}</td><td class="n">{{ each.rows }}</td>
<td class="n">{{ each.quarantined or "" }}</td><td>{{ each.failed|join(", ") }}</td></tr>{% endfor %}
</table></body></html>
"""


def page(base: str, key: str) -> str:
    """URL of a partition's page; ``base`` is the project's folder in the lake."""
    return f"{base}/docs/{key}/index.html"


def write(project: Project, base: str, checks: Checks) -> str:
    """Write a partition's page and the index; the page's URL."""
    url = page(base, checks.key)
    files.write_bytes(url, _render(_PAGE, checks.to_dict()).encode())
    row_source = next(iter(project.spec.data.sources))
    summary = {
        "state": checks.state,
        "rows": checks.sources[row_source].rows,
        "quarantined": checks.quarantined,
        "failed": [
            f"{name}: {check.expectation}"
            for name, source in checks.sources.items()
            for check in source.checks
            if not check.success
        ],
    }
    files.write_json(f"{base}/docs/{checks.key}/summary.json", summary)
    _write_index(project, base, checks.key, summary)
    return url


def _write_index(project: Project, base: str, key: str, summary: dict[str, Any]) -> None:
    """Bring the index up to date: what it lacks (a parallel run may have written over it) is read from the pages."""
    index_url = f"{base}/docs/index.json"
    index: dict[str, Any] = files.read_json(index_url) if files.exists(index_url) else {}
    filesystem, path = files.filesystem(f"{base}/docs")
    there = {
        str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]
        for entry in filesystem.ls(path, detail=True)
        if _is_folder(entry)
    }
    for each in there - set(index) - {key}:
        summary_url = f"{base}/docs/{each}/summary.json"
        if files.exists(summary_url):
            index[each] = files.read_json(summary_url)
    index[key] = summary
    files.write_json(index_url, index)
    content = _render(_INDEX, {"project": project.name, "partitions": sorted(index.items(), reverse=True)})
    files.write_bytes(f"{base}/docs/index.html", content.encode())


def _is_folder(entry: dict[str, Any]) -> bool:
    return bool(entry["type"] == "directory")


def _render(template: str, values: dict[str, Any]) -> str:
    from jinja2 import Environment

    return Environment(autoescape=True).from_string(template).render(**values, style=_STYLE)
