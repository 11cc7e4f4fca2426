"""The templates of the data docs, compiled when this module is imported: the scheduler does so before tasks are forked from it.

A training's pod has no Jinja, so :mod:`updraft.data.docs` imports this where it writes.
"""

from __future__ import annotations

from jinja2 import Environment

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2733;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #dde3ea;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:.9em}
.passed,.yes{color:#0a6b3d}.refused,.no{color:#b3261e;font-weight:600}.empty{color:#5d6b7a}.dim{color:#5d6b7a}
.mended{border-left:4px solid #0a6b3d;padding:.2rem 1rem;margin:1rem 0}
.box{background:#fdecea;border-left:4px solid #b3261e;padding:.6rem 1rem;margin:1rem 0}
@media(prefers-color-scheme:dark){body{background:#12181f;color:#dfe6ee}th,td{border-color:#2b3642}.box{background:#3a1b19}
.passed,.yes{color:#5fd29a}.refused,.no{color:#ff8a80}.dim,.empty{color:#93a1b0}a{color:#8ab8ff}}
"""

_TEMPLATES = Environment(autoescape=True)
_TEMPLATES.globals["style"] = _STYLE
PAGE = _TEMPLATES.from_string("""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{{ project }} {{ key }}: data docs</title>
<style>{{ style }}</style></head><body>
<p><a href="../index.html">{{ project }}</a> · <a href="../months/{{ month }}/index.html">{{ month }}</a></p>
<h1>Partition {{ key }}: <span class="{{ state }}">{{ state }}</span></h1>
{% if refusals %}<div class="box"><ul>{% for text in refusals %}<li>{{ text }}</li>{% endfor %}</ul></div>{% endif %}
{% for rules in past %}<div class="{{ 'box' if state == 'refused' else 'mended' }}">
{{ "Refused before" if state == "refused" else "Resolved: it was refused before" }}<ul>{% for text in rules %}
<li>{{ text }}</li>{% endfor %}</ul></div>{% endfor %}
{% for earlier, why in unread.items() %}<div class="box">The labels of partition {{ earlier }} are missing: {{ why }}.
When its file is mended, clear the ingest run of {{ key }} after that of {{ earlier }}.</div>{% endfor %}
{% for name, source in sources.items() %}
<h2>{{ name }}</h2>
<p>{{ source.rows + source.outside + source.timeless }} rows read: {{ source.rows - source.quarantined - source.dropped }} kept,
{{ source.quarantined }} quarantined{% if source.released %}, {{ source.released }} of those kept released by a person{% endif %}
{%- if source.dropped %}, {{ source.dropped }} dropped by a person{% endif %}
{%- if source.outside %}, {{ source.outside }} outside of the partition{% endif %}
{%- if source.timeless %}, {{ source.timeless }} without a time{% endif %}
{%- if source.skipped %} ({{ source.skipped }} of them as their time zone skips the time that they have){% endif %}
{%- if source.repeated %}, {{ source.repeated }} in an hour that their time zone has twice (of two rows that their time alone tells apart the
first is the earlier; else it is the later hour){% endif %}
{% if source.joined is not none %}, joined by {{ "%.1f"|format(100 * source.joined) }} % of the rows{% endif %}</p>
{% if source.cleaned %}<table><tr><th>Cleaning</th><th>Values</th></tr>
{% for step, count in source.cleaned.items() %}<tr><td><code>{{ step }}</code></td><td class="n">{{ count }}</td></tr>{% endfor %}
</table>{% endif %}
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
""")

MONTH = _TEMPLATES.from_string("""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{{ project }} {{ month }}: data docs</title>
<style>{{ style }}</style></head><body><p><a href="../../index.html">{{ project }}</a></p>
<h1>{{ month }}: data docs</h1>
<table><tr><th>Partition</th><th>State</th><th>Rows</th><th>Quarantined</th><th>Checks that failed</th></tr>
{% for key, summary in partitions %}<tr><td><a href="../../{{ key }}/index.html">{{ key }}</a></td>
<td class="{{ summary.state }}">{{ summary.state }}
{%- if summary.refused and summary.state != "refused" %} <span class="dim">(was refused, resolved)</span>{% endif %}</td>
<td class="n">{{ summary.rows }}</td>
<td class="n">{{ summary.quarantined or "" }}</td><td>{{ summary.failed|join(", ") }}</td></tr>{% endfor %}
</table></body></html>
""")

INDEX = _TEMPLATES.from_string("""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{{ project }}: data docs</title>
<style>{{ style }}</style></head><body><h1>{{ project }}: data docs</h1>
<p class="dim">The data contract, month by month.</p>
<table><tr><th>Month</th><th>Partitions</th><th>Refused</th><th>Rows</th><th>Quarantined</th></tr>
{% for month, sums in months %}<tr><td><a href="months/{{ month }}/index.html">{{ month }}</a></td>
<td class="n">{{ sums.partitions }}</td><td class="n {{ 'no' if sums.refused }}">{{ sums.refused or "" }}</td>
<td class="n">{{ sums.rows }}</td><td class="n">{{ sums.quarantined or "" }}</td></tr>{% endfor %}
</table></body></html>
""")
