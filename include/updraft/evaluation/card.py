"""The model card: one self-contained page per version, for whoever has to answer for it (Mitchell et al. 2019)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from updraft.evaluation.card_pictures import calibration, importances, learning, losses
from updraft.evaluation.fairness import Gap
from updraft.tasks.metrics import Metric
from updraft.tasks.task_type import TaskType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Measured:
    """A number of the new model, the champion's on the same rows, and what is known about their difference."""

    model: float
    champion: float | None = None
    low: float | None = None
    """Lower end of the interval of model minus champion."""
    high: float | None = None
    rows: int | None = None


@dataclass(frozen=True, eq=False)
class CardData:
    """What a card shows; plain values, so that a card can be made anywhere."""

    project: str
    version: str
    description: str
    owner: str
    task: TaskType
    key: str
    """The partition at whose tick the model was trained."""
    outcome: str
    """In words: registered as a refresh, refused by the gates, …"""
    metric: Metric
    """The loss in :attr:`partitions` and :attr:`slices`."""
    metrics: Mapping[str, Measured]
    """On the holdout."""
    partitions: Mapping[str, Measured]
    """Loss by holdout partition."""
    slices: Mapping[str, Measured]
    """Loss by guarded slice, such as ``origin=EWR``."""
    label: NDArray[np.float64]
    """Holdout labels, shape (rows,)."""
    score: NDArray[np.float64]
    """Scores of the same rows."""
    curve: Sequence[float]
    """Validation loss after each round."""
    rounds: int
    importance: Mapping[str, float]
    importance_is: str
    reasons: Sequence[str] = ()
    """Why the gates refused it."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the model is made from: window, snapshot, code, features, parameters, environment."""
    links: Mapping[str, str] = field(default_factory=dict)
    fairness: Sequence[Gap] = ()
    """Rates of groups, where the project compares them."""


def card_html(data: CardData) -> str:
    """The page, with its pictures inside: nothing is fetched when it is opened."""
    made_from = {"owner": data.owner, "task": data.task.name, "trained at": data.key, **data.facts}
    parts = [
        f"<h1>{escape(data.project)} <small>version {escape(data.version)}</small></h1>",
        f"<p class=lead>{escape(data.description)}</p>",
        f"<p><b>{escape(data.outcome)}</b></p>",
        _list(data.reasons),
        _section("How well it does", f"<p>{_tested(data)}</p>" + _table(data.metrics, "metric")),
        _pictures(data),
        _section("By slice", _table(data.slices, data.metric.name)) if data.slices else "",
        _section("By group", "".join(_groups(gap) for gap in data.fairness)) if data.fairness else "",
        _section(
            "What it is made from",
            _facts(made_from),
        ),
        _section("Limits", _limits(data)),
        _links(data.links),
    ]
    return _PAGE.format(title=escape(f"{data.project} {data.version}"), body="\n".join(part for part in parts if part))


def _tested(data: CardData) -> str:
    if not len(data.label):
        return "There was no holdout: the numbers below are of the validation clusters."
    names = ", ".join(escape(name) for name in data.partitions)
    return (
        f"On {len(data.label):,} rows of the holdout partitions ({names}), by a model of the same recipe that learned "
        "from the partitions before them. The released model learned from these as well, so they cannot test it."
    )


def _pictures(data: CardData) -> str:
    shown = []
    if len(data.label):
        shown.append(
            (
                "How far scores can be believed",
                calibration(*data.task.reliability(data.label, data.score), data.task.mean_label),
            )
        )
    if data.partitions:
        pairs = {name: (m.model, m.champion) for name, m in data.partitions.items()}
        shown.append((f"{data.metric.name} by holdout partition", losses(pairs, data.metric.title)))
    if data.curve:
        shown.append(("Loss while learning", learning(data.curve, data.rounds)))
    if data.importance:
        shown.append((f"What it looks at: {data.importance_is}", importances(data.importance, data.importance_is)))
    if data.slices:
        pairs = {name: (m.model, m.champion) for name, m in data.slices.items()}
        shown.append((f"{data.metric.name} by slice", losses(pairs, data.metric.title)))
    figures = "".join(
        f'<figure><img alt="{escape(title)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{escape(title)}</figcaption></figure>"
        for title, png in shown
    )
    return f"<div class=pictures>{figures}</div>"


def _table(rows: Mapping[str, Measured], what: str) -> str:
    compared = any(measured.champion is not None for measured in rows.values())
    counted = any(measured.rows is not None for measured in rows.values())
    head = [what, "this model", *(["champion", "difference"] if compared else []), *(["rows"] if counted else [])]
    lines = []
    for name, measured in rows.items():
        cells = [f"<th>{escape(name)}</th>", f"<td>{measured.model:.4f}</td>"]
        if compared:
            cells += [f"<td>{_number(measured.champion)}</td>", f"<td>{_difference(measured)}</td>"]
        if counted:
            cells.append(f"<td>{'' if measured.rows is None else f'{measured.rows:,}'}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _groups(gap: Gap) -> str:
    """One rate of every group, and what the gate made of it."""
    compared = gap.champion is not None or any(group.champion is not None for group in gap.groups)
    head = [gap.column, "this model", *(["champion"] if compared else []), "rows", "clusters", ""]
    lines = []
    for group in gap.groups:
        cells = [f"<th>{escape(group.name)}</th>", f"<td>{_number(group.candidate)}</td>"]
        cells += [f"<td>{_number(group.champion)}</td>"] if compared else []
        cells += [f"<td>{group.rows:,}</td>", f"<td>{group.clusters:,}</td>"]
        lines.append(f"<tr>{''.join(cells)}<td>{'' if group.decides else 'decides nothing'}</td></tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    outcome = gap.refusal if not gap.passed else gap.told
    return (
        f"<h3>{escape(gap.name)}</h3><p>{escape(outcome)}</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _difference(measured: Measured) -> str:
    if measured.champion is None:
        return ""
    text = f"{measured.model - measured.champion:+.4f}"
    if measured.low is not None and measured.high is not None:
        text += f" <small>[{measured.low:+.4f}, {measured.high:+.4f}]</small>"
    return text


def _limits(data: CardData) -> str:
    limits = [
        "It knows the world of its training window; what changed since is the business of monitoring.",
        "Importance says what the model uses, not what causes the outcome.",
    ]
    if len(data.partitions) < 4:
        limits.insert(0, f"{len(data.partitions)} holdout partition(s) say little about other seasons.")
    return _list(limits)


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>" if items else ""


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td><code>{escape(value)}</code></td></tr>" for name, value in facts.items()
    )
    return f"<table class=facts><tbody>{rows}</tbody></table>"


def _links(links: Mapping[str, str]) -> str:
    allowed = {name: url for name, url in links.items() if url.startswith(("http://", "https://"))}
    items = " · ".join(f'<a href="{escape(url)}">{escape(name)}</a>' for name, url in allowed.items())
    return f"<p>{items}</p>" if items else ""


_PAGE = """<!doctype html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1c2733; background: #fff }}
h1 small {{ font-weight: 400; color: #5b6b7b }} h2 {{ font-size: 1.1rem; margin-top: 2rem }}
.lead {{ font-size: 1.1rem }}
table {{ border-collapse: collapse }} th, td {{ padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top }}
td {{ font-variant-numeric: tabular-nums }}
thead th {{ color: #5b6b7b; font-weight: 500; border-bottom: 1px solid #cfd8e0 }}
tbody th {{ font-weight: 500 }} code {{ overflow-wrap: anywhere }} small {{ color: #5b6b7b }}
.pictures {{ display: grid; gap: 1rem; margin-top: 1.5rem;
            grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)) }}
figure {{ margin: 0 }} img {{ width: 100% }} figcaption {{ color: #5b6b7b; font-size: .9rem }}
</style></head>
<body>
{body}
</body></html>
"""
