"""A draft as the three files of a project's folder, with short comments on what is a guess."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from updraft.draft.features import GROUPS, WORD_GROUPS, Feature
from updraft.draft.project import Draft
from updraft.spec.environments import SPEC
from updraft.spec.feature_source import FEATURES
from updraft.spec.label import class_values
from updraft.spec.part import shown_duration

CONTRACT = "expectations.yaml"


def written(draft: Draft) -> dict[str, str]:
    """File -> content."""
    return {SPEC: _spec(draft), FEATURES: _features(draft), CONTRACT: _contract(draft)}


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _spec(draft: Draft) -> str:
    source = {key: value for key, value in draft.source.model_dump(exclude_defaults=True).items() if value is not None}
    if "nulls" in source:
        source["nulls"] = list(source["nulls"])
    label: dict[str, Any] = {"expr": draft.label.expr, "matures_after": shown_duration(draft.label.matures_after)}
    if draft.label.classes:
        label["classes"] = _plain(draft.label.classes)
    volume, key = draft.volume, draft.key
    outcomes = [*draft.label.columns, *draft.outcomes]
    lines = [
        f"# Written by `updraft init` from {len(draft.columns)} columns and {draft.rows:,} rows. What is marked as a guess is for you to look at.",
        f"name: {draft.name}",
        f"owner: {_flow(draft.owner)}",
        f"task: {draft.label.task}",
        "data:",
        f'  schedule: "{volume.schedule}"'
        + _comment(f"{_paced(draft)}; UTC: the tick closes the partition [previous tick, tick)"),
        f"  start: {volume.start}",
        f"  end: {volume.end}{_comment('of what the data hold today; take the line out when they go on growing')}",
        "  sources:",
        f"    {draft.source_name}: {_flow({'type': 'file', **source})}",
        f"  key: {_flow(list(key.columns))}{_comment(key.why)}",
        f"  label: {_flow(label)}{_comment(f'matures_after: after how long it is known ({draft.label.maturity})')}",
        f"  outcomes: {_flow(outcomes)}{_comment('not known when the prediction is made: features never see them')}",
        *_reasons(draft.outcomes, "    # a guess: {column} {why}"),
    ]
    if draft.private:
        lines += [
            f"  private: {_flow(list(draft.private))}{_comment('keyed pseudonyms before anything is published')}",
            *_reasons(draft.private, "    # a guess: {column} {why}"),
        ]
    lines += [
        "# Everything else is as the defaults have it with this schedule: the first model after "
        f"{volume.first_after} partitions, of the last {volume.window};",
        "# `updraft validate` says what that comes to, docs/projects.md what else can be said here.",
    ]
    return "\n".join([*lines, ""])


def _plain(classes: Sequence[str]) -> list[str | int | float]:
    """Classes as a person writes them: those that are numbers without quotes."""
    values = class_values(classes)
    return [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]


def _paced(draft: Draft) -> str:
    volume = draft.volume
    return f"{len(volume.rows)} partitions of {volume.median:,.0f} rows (median)"


def _comment(text: str) -> str:
    return f"   # {' '.join(text.split())}"


def _reasons(told: Mapping[str, str], form: str) -> Iterator[str]:
    for column, why in told.items():
        yield form.format(column=" ".join(repr(column).split()), why=why)


def _features(draft: Draft) -> str:
    groups: dict[str, list[Feature]] = {"number": [], "category": [], "time": [], "hashed": [], "words": []}
    for feature in draft.chosen.features:
        groups[feature.how if feature.how in groups else "time"].append(feature)
    titles = {
        "number": "numbers, and truth values, as they are",
        "category": "categories",
        "time": "parts of times",
        "hashed": f"columns of many texts: {GROUPS} groups by hash, as categories",
        "words": f"free texts: how often words of {WORD_GROUPS} groups stand in each, and its length",
    }
    body = []
    for group, members in groups.items():
        if members:
            body.append(f"            # {titles[group]}")
            body += [
                f"            {_expression(feature)},"
                if feature.how == "words"
                else f"            {_quoted(feature.name)}: {_expression(feature)},"
                for feature in members
            ]
    moment = (
        [f"    moment = pd.to_datetime(rows[{_quoted(str(draft.source.event_time))}], utc=True)"]
        if groups["time"]
        else []
    )
    unused = [f"# Not read: {_quoted(column)} {why}." for column, why in draft.chosen.unused.items()]
    lines = [
        f'"""Features of {draft.name}: what is known of a row when it is predicted. Used by training and scoring alike."""',
        "",
        "from __future__ import annotations",
        "",
        *_imports(groups),
        "",
        *unused,
        "",
        "",
        "def features(rows: pd.DataFrame) -> pd.DataFrame:",
        '    """Rows of a partition (outcome columns are not there) -> one row of features each, in the same order.',
        "",
        "    Text columns are categories; everything else is a number. Missing values stay missing.",
        '    """',
        *moment,
        "    return pd.DataFrame(",
        "        {",
        *body,
        "        },",
        "        index=rows.index,",
        "    )",
        "",
        *_helpers(groups),
    ]
    return "\n".join(lines).replace("import pandas as pd\n\n\n\n", "import pandas as pd\n\n\n")


def _helpers(groups: Mapping[str, Sequence[Feature]]) -> Iterator[str]:
    from updraft.draft import helpers

    for name in ("hashed", "words"):
        if groups[name]:
            yield from ("", *helpers.source_of(getattr(helpers, name)), "")


def _imports(groups: Mapping[str, Sequence[Feature]]) -> Iterator[str]:
    """What the file imports: nothing of this project, so that it stands alone, and its hash names all that makes features."""
    if groups["words"]:
        yield "import re"
    if groups["hashed"] or groups["words"]:
        yield from ("import zlib", "from typing import Any", "")
    if groups["words"]:
        yield "import numpy as np"
    yield "import pandas as pd"


def _expression(feature: Feature) -> str:
    own = f"rows[{_quoted(feature.column)}]"
    return {
        "number": own,
        "category": own,
        "clock": "moment.dt.hour + moment.dt.minute / 60",
        "weekday": "moment.dt.dayofweek",
        "hashed": f"hashed({own}, {GROUPS})",
        "words": f"**words({_quoted(feature.name)}, {own}, {WORD_GROUPS})",
        "days_before": f"(moment - pd.to_datetime({own}, utc=True)) / pd.Timedelta(days=1)",
    }[feature.how]


def _quoted(text: str) -> str:
    """A Python string, in double quotes where it needs no others."""
    return f'"{text}"' if '"' not in text and "\\" not in text and text.isprintable() else repr(text)


def _contract(draft: Draft) -> str:
    limits = draft.limits
    lines = [
        "# The data contract, learnt by `updraft init` from the history. Every limit is a guess: the widest that was seen, with room to spare.",
        "# Tighten what you know better; take out what does not matter. Expectations are those of Great Expectations, without `expect_`.",
        "# `columns`: columns that must be there, and their type. `rows`: a row that breaks one is quarantined, with the reason.",
        "# `table`: on a partition as a whole; a breach refuses it.",
        f"{draft.source_name}:",
        "  columns:",
        *(f"    {_flow({column: kind})[1:-1]}" for column, kind in limits.columns.items()),
    ]
    if limits.rows:
        lines += ["  rows:", *(f"    - {_flow(dict(expectation))}   # a guess" for expectation in limits.rows)]
    lines += ["  table:", *(f"    - {_flow(dict(expectation))}   # a guess" for expectation in limits.table), ""]
    return "\n".join(lines)
