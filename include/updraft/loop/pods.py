"""The page of a training's pods, for people who are signed in."""

from __future__ import annotations

from updraft import files
from updraft.loop.train import run_folder
from updraft.pods.attempts import read_attempts
from updraft.settings import Settings
from updraft.training.contract import TrainingResult

_PAGE = """<!doctype html><meta charset="utf-8"><title>Pods of {{ run }}</title>
<style>body{font:15px system-ui;margin:2em;max-width:75em}td,th{text-align:left;padding:.3em .8em;vertical-align:top}
tr:nth-child(even){background:#f4f4f4}code{font-size:13px}</style>
<h1>{{ project }}: pods of {{ run }}</h1>
{% if not attempts %}<p>No pod yet.</p>{% else %}
<table><tr><th>Pod<th>Node<th>Got<th>Peak memory<th>Ended</tr>
{% for each in attempts %}<tr><td>{% if links[loop.index0] %}<a href="{{ links[loop.index0] }}">{{ each.pod }}</a>{% else %}{{ each.pod }}
{% endif %}<br>{{ each.namespace }}<td>{{ each.node or "" }}
<td>{{ each.gpu }} GPU, {{ each.cpu }} cores, {{ each.memory }}{% if each.why %}<br>{{ each.why }}{% endif %}<br><code>{{ each.image }}
{%- if each.image_id %}<br>{{ each.image_id }}{% endif %}</code>
<td>{% if each.peak_memory_mb %}{{ "{:,.0f}".format(each.peak_memory_mb) }} MiB{% endif %}<td>{{ each.ending }}<br>{{ each.words }}</tr>{% endfor %}
</table>{% endif %}
{% if result %}<h2>Result</h2><table>
<tr><td>Rounds<td>{{ result.rounds }}</tr><tr><td>Rows<td>{{ "{:,}".format(result.rows) }}</tr>
<tr><td>Seconds<td>{{ result.seconds }}</tr><tr><td>Model<td><code>{{ result.model_url }}<br>{{ result.model_sha256 }}</code></tr>
{% for name, value in result.metrics.items() %}<tr><td>{{ name }}<td>{{ value }}</tr>{% endfor %}</table>{% endif %}
"""


def pods_page(settings: Settings, project: str, run: str, pod_url: str | None = None) -> bytes:
    """HTML of a run's pods and its result.

    :param pod_url: a dashboard's page of a pod, with ``{namespace}``, ``{pod}`` and ``{node}``.
    """
    from jinja2 import Environment

    folder = f"{settings.lake}/{project}/trainings/{run_folder(run)}"
    attempts = read_attempts(folder)
    links = [
        pod_url.format(namespace=each.namespace, pod=each.pod, node=each.node or "") if pod_url else None
        for each in attempts
    ]
    url = f"{folder}/result.json"
    result = TrainingResult.read(url) if files.exists(url) else None
    values = {"project": project, "run": run, "attempts": attempts, "links": links, "result": result}
    return Environment(autoescape=True).from_string(_PAGE).render(values).encode()
