"""What a search found: the best trial beside what the project trains with now, the table of all, and its page."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from updraft import files
from updraft.errors import TrainingError
from updraft.jobs.contract import TrainingResult
from updraft.lake.places import trial_run
from updraft.loop.context import Loop
from updraft.loop.search import Ended, SearchPlan, ended, open_study, plan_of, shown
from updraft.search.study import TrialRow
from updraft.spec.trainers import Value


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search."""

    best: Ended
    now: Ended | None
    """The trial with today's parameters; None when it failed."""
    params: dict[str, Value]
    """All parameters of the best trial."""
    tried: tuple[Ended, ...]
    failed: dict[int, str]
    """Trials that brought nothing, and why."""
    importance: dict[str, float]

    @property
    def better(self) -> bool:
        """Whether the best trial is another one than today's."""
        return self.best.number != 0

    @property
    def words(self) -> str:
        """One line for a person."""
        given_up = sum(trial.pruned for trial in self.tried)
        ended = f"{len(self.tried)} trials, {given_up} given up early, {len(self.failed)} failed"
        against = f", today's parameters {self.now.loss:.5f}" if self.now else ""
        if not self.better:
            return f"nothing better than today's parameters ({self.best.loss:.5f}) in {ended}"
        return f"trial {self.best.words}{against}; {ended}"


def conclude_search(loop: Loop, run: str) -> SearchResult:
    """Choose the best trial that went to its end, and write the summary and its page beside the plan.

    :raises TrainingError: when no trial brought anything.
    """
    plan = plan_of(loop, run)
    with closing(open_study(loop, run)) as study:
        for number in plan.numbers:
            study.give_up(number, "its task did not end well")  # nothing happens to those that did
        rows, importance = study.rows(), study.importance()
    results = {
        number: loop.training(trial_run(run, number)).result
        for number, row in sorted(rows.items())
        if row.state in ("done", "pruned")
    }
    chosen = _choose(plan, rows, results, importance)
    folder = loop.lake.search(run)
    summary: dict[str, Any] = {
        "run": run,
        "key": plan.request.key,
        "trainer": plan.request.trainer,
        "reason": plan.reason,
    }
    summary |= {"window": list(plan.request.window), "holdout": list(plan.holdout), "words": chosen.words}
    files.write_json(folder.summary, summary | asdict(chosen))
    files.write_bytes(folder.page, search_page(loop, plan, chosen, results))
    return chosen


def page_of(loop: Loop, run: str) -> str:
    """HTML of a search that was concluded."""
    return files.read_bytes(loop.lake.search(run).page).decode()


def _choose(
    plan: SearchPlan, rows: dict[int, TrialRow], results: dict[int, TrainingResult], importance: dict[str, float]
) -> SearchResult:
    tried = tuple(ended(rows[number], result, plan) for number, result in results.items())
    whole = [trial for trial in tried if not trial.pruned]
    failed = {number: row.why for number, row in sorted(rows.items()) if row.state == "failed"}
    if not whole:
        raise TrainingError(
            f"{plan.run}: no trial went to its end ({len(failed)} failed); see the logs of search_trial"
        )
    best = min(whole, key=lambda trial: (trial.loss, trial.number))
    now = next((trial for trial in whole if trial.number == 0), None)
    return SearchResult(best, now, dict(rows[best.number].params), tried, failed, importance)


_HTML = """<!doctype html><meta charset="utf-8"><title>Search {{ plan.run }}</title>
<style>body{font:15px system-ui;margin:2em;max-width:75em}td,th{text-align:right;padding:.3em .8em}
tr:nth-child(even){background:#f4f4f4}tr.best{background:#dff0e0}tr.pruned{color:#999}svg{background:#fafafa}</style>
<h1>{{ project }}: search {{ plan.run }}</h1>
<p><b>{{ chosen.words }}.</b> {{ plan.reason }}</p>
<p>Each trial learnt from {{ plan.request.window[0] }} to {{ plan.request.window[-1] }} ({{ plan.request.window|length }} partitions) and is scored
on the clusters of it that validate, one in seven. No trial has seen the holdout ({{ plan.holdout|join(", ") }}).
Trial 0 has the parameters of today.</p>
<svg width="720" height="260" viewBox="0 0 720 260">{% for line in lines %}
<polyline points="{{ line.points }}" fill="none" stroke="{{ line.colour }}" stroke-width="{{ line.width }}">
<title>{{ line.title }}</title></polyline>{% endfor %}
<text x="4" y="14" font-size="12">{{ "%.4f"|format(top) }}</text><text x="4" y="252" font-size="12">{{ "%.4f"|format(bottom) }}</text></svg>
<p>Lowest loss so far by round: green the best trial, black today's parameters, red given up early.</p>
<table><tr><th>Trial{% for name in names %}<th>{{ name }}{% endfor %}<th>Loss<th>Rounds<th>Seconds<th>Peak memory<th></tr>
{% for trial in chosen.tried|sort(attribute="loss") %}<tr class="{{ "best" if trial.number == chosen.best.number else "pruned" if trial.pruned }}">
<td>{{ trial.number }}{% for name in names %}<td>{{ shown(all[trial.number][name]) if name in all[trial.number] else "default" }}{% endfor %}
<td>{{ "%.5f"|format(trial.loss) }}<td>{{ trial.rounds }}<td>{{ "%.1f"|format(results[trial.number].seconds) }}
<td>{{ "{:,.0f}".format(results[trial.number].peak_memory_mb) }} MiB<td>{{ "given up" if trial.pruned }}</tr>
{% endfor %}{% for number, why in chosen.failed.items() %}
<tr><td>{{ number }}<td colspan="{{ names|length + 5 }}">failed: {{ why }}</tr>{% endfor %}</table>
{% if chosen.importance %}<h2>What made the difference</h2>
<p>By how much each parameter tells the best quarter of the trials from the rest (PED-ANOVA).</p><table>
{% for name, share in chosen.importance.items() %}<tr><td>{{ name }}<td>{{ "%.0f %%"|format(100 * share) }}</tr>{% endfor %}</table>{% endif %}
"""


def search_page(loop: Loop, plan: SearchPlan, chosen: SearchResult, results: dict[int, TrainingResult]) -> bytes:
    """HTML of a search: its curves and its table."""
    from jinja2 import Environment

    lines, top, bottom = _lines(chosen, results)
    all_params = {number: loop.training(trial_run(plan.run, number)).request.params for number in results}
    values: dict[str, Any] = {"project": loop.name, "plan": plan, "chosen": chosen, "results": results}
    values |= {"names": sorted(plan.search.space), "all": all_params, "shown": shown}
    values |= {"lines": lines, "top": top, "bottom": bottom}
    return Environment(autoescape=True).from_string(_HTML).render(values).encode()


def _lines(chosen: SearchResult, results: dict[int, TrainingResult]) -> tuple[list[dict[str, Any]], float, float]:
    """Polylines of the lowest loss so far, and the losses at the top and at the bottom of the picture."""
    from itertools import accumulate

    curves = {number: list(accumulate(next(iter(result.curve.values())), min)) for number, result in results.items()}
    ends = sorted(curve[-1] for curve in curves.values())
    bottom, top = ends[0], max(curve[min(4, len(curve) - 1)] for curve in curves.values())
    scale = 240 / ((top - bottom) or 1.0)
    longest = max(map(len, curves.values()))

    def line(number: int, curve: list[float]) -> dict[str, Any]:
        ended = next(trial for trial in chosen.tried if trial.number == number)
        best = number == chosen.best.number
        colour = "#2a8c3a" if best else "#000" if number == 0 else "#d66" if ended.pruned else "#9bb"
        points = " ".join(
            f"{60 + 650 * at / max(1, longest - 1):.1f},{250 - scale * (min(loss, top) - bottom):.1f}"
            for at, loss in enumerate(curve)
        )
        return {"points": points, "colour": colour, "width": 2.5 if best or number == 0 else 1, "title": ended.words}

    ordered = sorted(curves, key=lambda number: (number == chosen.best.number, number == 0))
    return [line(number, curves[number]) for number in ordered], top, bottom
