"""The runbook as a page: the same texts as docs/runbook.md, for people who follow an alert's link."""

from __future__ import annotations

import re

from updraft.alerts.runbook.of_alerts import ALERTS
from updraft.alerts.runbook.of_tasks import TASKS

_PAGE = """<!doctype html><meta charset="utf-8"><title>Runbook</title>
<style>body{font:15px/1.5 system-ui;margin:2em auto;max-width:60em;padding:0 1em}dt{font-weight:600}dd{margin:0 0 .4em 1.5em}
h3{margin-top:2em}h3:target{border-left:4px solid #b3261e;padding-left:.6em}code{font-size:13px;background:#f4f4f4}</style>
<h1>Runbook</h1>
{% for heading, part in parts %}<h2>{{ heading }}</h2>
{% for name, entry in part.items() %}<h3 id="{{ name }}">{{ entry.title }}</h3>
<dl><dt>Means<dd>{{ entry.means | marked }}<dt>See more<dd>{{ entry.look | marked }}
<dt>Do<dd>{{ entry.do | marked }}<dt>Undo<dd>{{ entry.undo | marked }}</dl>
{% endfor %}{% endfor %}"""


def runbook_page() -> bytes:
    """HTML of every entry; the fragment of an address is the name of one."""
    from jinja2 import Environment

    environment = Environment(autoescape=True)
    environment.filters["marked"] = _marked
    parts = (("Alerts", ALERTS), ("Failed tasks", TASKS))
    return environment.from_string(_PAGE).render(parts=parts).encode()


def _marked(text: str) -> str:
    """The text's two marks, `code` and *emphasis*, as HTML."""
    from markupsafe import Markup, escape

    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", marked))
