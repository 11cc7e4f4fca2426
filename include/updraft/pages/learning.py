"""The page of a project's learning: what it learns from, what is kept out and why, whether a training is overdue."""

from __future__ import annotations

from updraft.loop.decision_words import in_words
from updraft.loop.kept_out import summarise_kept_out
from updraft.loop.watchdog import overdue_training
from updraft.spec.evidence import evidence_words, undecidable
from updraft.spec.model import ProjectSpec
from updraft.store.signs import ACCEPT
from updraft.store.store import Store

SAID = 20
"""The newest so many decisions of people about feeds are shown."""
_PAGE = """<!doctype html><meta charset="utf-8"><title>Learning of {{ project }}</title>
<style>body{font:15px system-ui;margin:2em;max-width:75em}td,th{text-align:left;padding:.3em .8em;vertical-align:top}
tr:nth-child(even){background:#f4f4f4}code{font-size:13px}.wanted{border-left:4px solid #b3261e;padding-left:.8em}</style>
<h1>{{ project }}: what it learns from</h1>
<p>{% if serving.champion %}Version {{ serving.champion }} serves since {{ serving.since }}{% else %}No champion yet{% endif %};
the last training was {{ "at " ~ trained if trained else "none yet" }}. Evidence is counted {{ evidence }}.</p>
{% if overdue %}<p class="wanted">{{ overdue.words }}</p>{% endif %}
{% for line in undecidable %}<p class="wanted">{{ line }}</p>{% endfor %}
<h2>Kept out of trainings: {{ kept_out.partitions }} of the newest {{ kept_out.of }} partitions</h2>
{% if kept_out.signs %}<table><tr><th>Sign<th>Column<th>Partitions<th>Since<th>If it is right as it is; else mend the source</tr>
{% for sign in kept_out.signs %}<tr><td>{{ sign.kind.replace("_", " ") }}<td>{{ sign.column if sign.column is not none else "(all rows)" }}
<td>{{ sign.partitions }}<td>{{ sign.since }}<td><code>{{ kept_out.commands[loop.index0] }}</code></tr>{% endfor %}</table>
{% else %}<p>No sign of a broken feed keeps anything out.</p>{% endif %}
{% if said %}<h2>What people said of the feed</h2><table>
{% for key, words in said %}<tr><td>{{ key }}<td>{{ words }}</tr>{% endfor %}</table>{% endif %}
"""


def learning_page(store: Store, spec: ProjectSpec) -> bytes:
    """HTML of what a project learns from, as the store has it."""
    from jinja2 import Environment

    decisions = store.newest_decisions(spec.name, ("readmit", ACCEPT), SAID)
    values: dict[str, object] = {"project": spec.name, "serving": store.serving(spec.name)}
    values |= {"trained": store.newest_training(spec.name), "evidence": evidence_words(spec)}
    values |= {"overdue": overdue_training(store, spec), "undecidable": undecidable(spec)}
    values |= {"kept_out": summarise_kept_out(store, spec)}
    values |= {"said": [(decision.key, in_words(decision)) for decision in reversed(decisions)]}
    return Environment(autoescape=True).from_string(_PAGE).render(values).encode(errors="replace")
