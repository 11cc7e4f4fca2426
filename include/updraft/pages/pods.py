"""The page of a training's pods, for people who are signed in."""

from __future__ import annotations

import re
from urllib.parse import quote

from updraft.jobs.training_run import TrainingRun
from updraft.pods.attempts import Attempt, read_attempts

_PAGE = """<!doctype html><meta charset="utf-8"><title>Pods of {{ run }}</title>
<style>body{font:15px system-ui;margin:2em;max-width:75em}td,th{text-align:left;padding:.3em .8em;vertical-align:top}
tr:nth-child(even){background:#f4f4f4}code{font-size:13px}</style>
<h1>{{ project }}: pods of {{ run }}</h1>
{% if not attempts %}<p>No pod yet.</p>{% else %}
<table><tr><th>Pod<th>Node<th>Got<th>Peak memory<th>Ended</tr>
{% for attempt in attempts %}<tr><td>{% if links[loop.index0] %}<a href="{{ links[loop.index0] }}">{{ attempt.pod }}</a>{% else %}{{ attempt.pod }}
{% endif %}<br>{{ attempt.namespace }}<td>{{ attempt.node or "" }}
<td>{{ attempt.gpu }} GPU, {{ attempt.cpu }} cores, {{ attempt.memory }}{% if attempt.why %}<br>{{ attempt.why }}{% endif %}<br>
<code>{{ attempt.image }}
{%- if attempt.image_id %}<br>{{ attempt.image_id }}{% endif %}</code>
<td>{% if attempt.peak_memory_mb %}{{ "{:,.0f}".format(attempt.peak_memory_mb) }} MiB{% endif %}
<td>{{ attempt.ending }}<br>{{ attempt.words }}</tr>{% endfor %}
</table>{% endif %}
{% if result %}<h2>Result</h2><table>
<tr><td>Rounds<td>{{ result.rounds }}</tr><tr><td>Rows<td>{{ "{:,}".format(result.rows) }}</tr>
<tr><td>Seconds<td>{{ result.seconds }}</tr><tr><td>Model<td><code>{{ result.model_url }}<br>{{ result.model_sha256 }}</code></tr>
{% for name, value in result.metrics.items() %}<tr><td>{{ name }}<td>{{ value }}</tr>{% endfor %}</table>{% endif %}
"""


def pods_page(training: TrainingRun, pod_url: str | None = None) -> bytes:
    """HTML of a run's pods and its result, as the store has them.

    :param pod_url: a dashboard's page of a pod, with ``{namespace}``, ``{pod}`` and ``{node}``.
    """
    from jinja2 import Environment

    project, run = training.project, training.id
    attempts = read_attempts(training.store, project, run)
    links = [_link(pod_url, attempt) if pod_url else None for attempt in attempts]
    values: dict[str, object] = {"project": project, "run": run, "attempts": attempts, "links": links}
    values |= {"result": training.kept_result}
    return Environment(autoescape=True).from_string(_PAGE).render(values).encode(errors="replace")


def _link(pod_url: str, attempt: Attempt) -> str | None:
    """The dashboard's page of a pod; None where the address is none that leads to a page."""
    parts = {"namespace": attempt.namespace, "pod": attempt.pod, "node": attempt.node or ""}
    try:
        url = pod_url.format(**{name: quote(str(part), safe="") for name, part in parts.items()})
    except (LookupError, ValueError, AttributeError):
        return None
    return url if re.match(r"https?://|/(?![/\\])", url) else None
