"""``project.<environment>.yaml``: what one environment has otherwise than ``project.yaml``, and what none may have otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from updraft.settings import BASE, ENVIRONMENT_NAME
from updraft.spec.document import Document, Path_, read_document
from updraft.spec.model import ProjectSpec
from updraft.spec.problems import Problem, did_you_mean, shown_path
from updraft.spec.validation import fields_below, kind

SPEC = "project.yaml"
_FILE = re.compile(r"project\.(.+)\.ya?ml")
ANY = "*"
"""Stands for any name in a path."""

MAY_DIFFER: tuple[tuple[str, ...], ...] = (
    ("data", "schedule"),
    ("data", "start"),
    ("data", "end"),
    *(
        ("data", "sources", ANY, key)
        for key in (
            *("type", "url", "connection", "table", "query", "params", "records", "pages", "rate", "timeout", "wait"),
            *("time_format", "time_zone", "decimal", "nulls", "encoding"),
        )
    ),
    ("training", "compute"),
    *(("training", "search", key) for key in ("trials", "parallel", "timeout")),
    *(("monitoring", "remedies", "retrain", key) for key in ("every", "cooldown", "per_year", "at_most")),
    ("alerts",),
)
"""Every key that an environment may override, each with all that stands below it: docs/environments.md lists the same."""

_WHY_NOT: dict[tuple[str, ...], str] = {
    (): "one policy proves a version wherever it is",
    ("name",): "it is the same project in every environment",
    ("owner",): "one owner answers for the project in every environment",
    ("task",): "a version that is promoted predicts the same thing in every environment",
    (
        "features",
    ): "features.py makes the same columns of a row in every environment, or a version would not be what was proved",
    (
        "data",
    ): "a row, its key and its columns mean the same in every environment, or a version would not be what was proved",
    ("data", "label"): "a version that is promoted predicts the same label in every environment",
    ("data", "outcomes"): "what is not known at prediction time in one environment is known in none",
    ("data", "clean"): "features are made of cleaned cells, and are the same in every environment",
    ("data", "private"): "what is private in one environment stands in clear in none",
    ("data", "refuse_above"): "data that is refused in one environment is good in none",
    (
        "data",
        "sources",
    ): "features and label are made of the same columns and joins in every environment; where rows come from may differ",
    ("training",): "it is part of the recipe, and the version that is promoted has to be the one that was proved",
    (
        "monitoring",
    ): "a version is watched by the same rules in every environment; how often it may be trained anew may differ",
    ("gates",): "a version that fails in one environment passes in none",
    ("release",): "a version is proved by the same evidence in every environment",
}
"""By key, the longest that fits counts: why it is the same in every environment."""


def holds_spec(path: Path) -> bool:
    """Whether a file beside others of a project is ``project.yaml``, or says what an environment has otherwise."""
    return path.name == SPEC or _FILE.fullmatch(path.name) is not None


def what_data_mean(spec: ProjectSpec) -> dict[str, Any]:
    """What a row, its columns and its label are, JSON-able: ``data`` without what an environment may have otherwise, and without how many rows
    may be refused. A version that scores elsewhere needs the same there."""
    of_sources = {path[-1] for path in MAY_DIFFER if path[:3] == ("data", "sources", ANY)}
    of_data = {path[1] for path in MAY_DIFFER if path[0] == "data" and len(path) == 2}
    return spec.data.model_dump(
        mode="json",
        exclude={**dict.fromkeys({*of_data, "refuse_above", "not_leaks"}, True), "sources": {"__all__": of_sources}},
    )


def override_file(folder: Path, environment: str) -> Path:
    """The file of an environment, whether it is there or not."""
    return folder / f"project.{environment}.yaml"


def environments(folder: Path) -> list[str]:
    """The environments that a project has files of, sorted."""
    named = [match[1] for match in map(_FILE.fullmatch, _names(folder)) if match]
    return sorted(name for name in named if _is_name(name) and override_file(folder, name).exists())


def environment_words(folder: Path, environment: str | None) -> str | None:
    """Which environment holds for a project, and by which file; None where none is chosen and the project has a file of none."""
    if environment is None:
        there = environments(folder)
        return f"environment: none, {SPEC} alone holds; there are files of {', '.join(there)}" if there else None
    file = override_file(folder, environment)
    if file.exists():
        return f"environment {environment}: {file.name} overrides {SPEC}"
    return f"environment {environment}: there is no {file.name}, {SPEC} alone holds"


def misnamed(folder: Path) -> list[Problem]:
    """Files that look like an environment's and are never read."""
    problems = []
    for name in sorted(_names(folder)):
        match = _FILE.fullmatch(name)
        if match is None or (_is_name(match[1]) and name.endswith(".yaml")):
            continue
        message = f"is never read; rename it to {override_file(folder, match[1]).name}"
        if not _is_name(match[1]):
            message = (
                "is never read: an environment's name has lower-case letters, digits, - and _, begins with a letter, "
                f"and is not {BASE}; rename the file"
            )
        problems.append(Problem(shown_path(folder / name), "", None, message))
    return problems


def override_document(folder: Path, environment: str | None, base: Document) -> Document | None:
    """What may be laid over ``project.yaml`` in an environment; None where it has no file, or nothing stands in it.

    What may not differ is taken out of ``data``, and is told in ``problems`` with the reason.

    :param base: ``project.yaml``.
    :raises OSError: when the file cannot be read.
    """
    if environment is None:
        return None
    try:
        document = read_document(override_file(folder, environment))
    except FileNotFoundError:
        return None
    if document.empty:
        return None
    problems = list(document.problems)
    data: Any = {}
    if document.node is not None:
        data = _allowed(document, base.data, problems)
    return replace(document, data=data, problems=tuple(problems))


def _is_name(name: str) -> bool:
    return name != BASE and ENVIRONMENT_NAME.fullmatch(name) is not None


def _names(folder: Path) -> Iterator[str]:
    try:
        yield from (path.name for path in folder.iterdir())
    except OSError:  # it went meanwhile: reading it says so
        return


def _allowed(document: Document, base: Any, problems: list[Problem], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """The keys below a path that may differ.

    :param base: what ``project.yaml`` has at the path.
    :param problems: takes one for each key that may not.
    """
    values = document.data
    for part in path:
        values = values[part]
    if not isinstance(values, dict):
        problems.append(document.problem(path, f"must be keys and values, not {kind(values)}", values))
        return {}
    kept = {}
    for key, value in values.items():
        here = (*path, str(key))
        below = base.get(key) if isinstance(base, dict) else None
        if any(_fits(here, pattern) for pattern in MAY_DIFFER):
            kept[key] = value
        elif not any(_fits(here, pattern[: len(here)]) for pattern in MAY_DIFFER):
            problems.append(_refused(document, here, value))
        elif (missing := _not_in_base(here, base)) is not None:
            problems.append(document.problem(here, missing, value))
        elif inner := _allowed(document, below, problems, here):
            kept[key] = inner
    return kept


def _fits(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    return len(path) == len(pattern) and all(part in (ANY, own) for own, part in zip(path, pattern, strict=True))


def _not_in_base(path: tuple[str, ...], base: Any) -> str | None:
    """Why nothing may be said below a path: there is no such thing to say it of. An environment adds none."""
    key = path[-1]
    there = isinstance(base, dict) and key in base
    if path[:-1] == ("data", "sources") and not there:
        return f"{SPEC} has no such source{did_you_mean(key, map(str, base if isinstance(base, dict) else ()))}; {_why_not(path)}"
    if there and base[key] is None:
        return f"is null in {SPEC}, and so it is in every environment: {_why_not(path)}"
    return None


def _refused(document: Document, path: Path_, value: Any) -> Problem:
    known = fields_below(ProjectSpec, path[:-1])
    if path[-1] not in known and path != ("features",) and known:
        return document.problem(path, "unknown key" + did_you_mean(path[-1], known), value)
    words = tuple(str(part) for part in path)
    return document.problem(path, f"may not differ between environments: {_why_not(words)}; say it in {SPEC}", value)


def _why_not(path: tuple[str, ...]) -> str:
    return next(_WHY_NOT[path[:depth]] for depth in range(len(path), -1, -1) if path[:depth] in _WHY_NOT)
