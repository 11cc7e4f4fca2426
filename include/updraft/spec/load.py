"""Project folders -> :class:`Project`, or everything that is wrong with them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from updraft.errors import SettingsError
from updraft.spec.checks import cross_check
from updraft.spec.document import Document, Path_, read_document
from updraft.spec.environments import SPEC, override_document
from updraft.spec.feature_source import FEATURES, static_problems
from updraft.spec.model import Project, ProjectSpec
from updraft.spec.problems import Problem, SpecProblems, shown_path
from updraft.spec.source_code import source_problems
from updraft.spec.validation import validate

__all__ = [
    "BrokenProject",
    "Problem",
    "SpecProblems",
    "load_project",
    "load_project_or_problems",
    "load_projects",
    "project_names",
    "shown_name",
    "spec_document",
]

_BELONGS = (FEATURES, "expectations.yaml", "expectations.py", "project.yml")
"""Files that make a folder without ``project.yaml`` a project that lacks it."""


@dataclass(frozen=True)
class BrokenProject:
    """A project whose folder is wrong."""

    name: str
    """The folder's name, the only one that can be relied on; characters that no DAG id may hold are ``_`` here."""
    folder: Path
    problems: tuple[Problem, ...]
    spec: ProjectSpec | None = None
    """As much of the spec as is sound; what stands at the ``broken`` keys is not what the file says."""
    broken: frozenset[Path_] = frozenset()
    environment: str | None = None
    """The environment that it was read for."""


def shown_name(folder: str) -> str:
    """The name of a folder as a DAG id may hold it."""
    return re.sub(r"[^\w.-]", "_", folder)


def load_project(folder: Path, environment: str | None = None) -> Project:
    """Read and check a project's folder; imports nothing of it.

    :param environment: whose ``project.<environment>.yaml`` overrides ``project.yaml``, where there is one.
    :raises SpecProblems: with every problem of ``project.yaml``, of that file and of ``features.py``.
    """
    project = load_project_or_problems(folder, environment)
    if isinstance(project, BrokenProject):
        raise SpecProblems(project.problems)
    return project


def load_project_or_problems(folder: Path, environment: str | None = None) -> Project | BrokenProject:
    """Read and check a project's folder; what is wrong with it is part of the answer.

    :param environment: as for :func:`load_project`.
    """
    folder = folder.absolute()
    spec, problems, broken = _read_spec(folder, environment)
    problems += static_problems(folder, spec)
    if spec is not None and any(source.type == "python" for source in spec.data.sources.values()):
        problems += source_problems(folder)
    if spec is None or problems:
        return BrokenProject(shown_name(folder.name), folder, tuple(problems), spec, broken, environment)
    return Project(spec=spec, folder=folder, environment=environment)


def load_projects(root: Path, environment: str | None = None) -> dict[str, Project | BrokenProject]:
    """Every project below a folder by its folder's name, sorted; a broken one never stops the others.

    :param environment: as for :func:`load_project`.
    :raises SettingsError: when the folder is not there.
    """
    return {name: load_project_or_problems(root / name, environment) for name in project_names(root)}


def project_names(root: Path) -> list[str]:
    """The names of the project folders, broken ones included, sorted; reads no file.

    :raises SettingsError: when the folder is not there.
    """
    try:
        folders = [entry for entry in root.iterdir() if not entry.name.startswith((".", "_")) and entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        raise SettingsError(f"{root}: no such folder of projects; make it, or set UPDRAFT_PROJECTS") from None
    return sorted(folder.name for folder in folders if any((folder / file).exists() for file in (SPEC, *_BELONGS)))


def spec_document(folder: Path, environment: str | None) -> Document:
    """``project.yaml`` with the file of an environment laid over it, where there is one; ``problems`` are those of both.

    What an environment may not override stays as ``project.yaml`` says it.

    :raises OSError: when a file cannot be read.
    """
    base = read_document(folder / SPEC)
    over = override_document(folder, environment, base)
    if over is None or base.node is None:
        return base
    return replace(base.overridden(over), problems=(*base.problems, *over.problems))


def _read_spec(folder: Path, environment: str | None) -> tuple[ProjectSpec | None, list[Problem], frozenset[Path_]]:
    everything: frozenset[Path_] = frozenset({()})
    file = folder / SPEC
    try:
        document = spec_document(folder, environment)
    except FileNotFoundError:
        message = "no such file; it holds the project's policy"
        if (folder / "project.yml").exists():
            message = "no such file; rename project.yml to project.yaml"
        return None, [Problem(shown_path(file), "", None, message)], everything
    except OSError as error:
        unread = Path(error.filename) if error.filename else file
        return None, [Problem(shown_path(unread), "", None, f"cannot be read: {error.strerror}")], everything
    if document.node is None:
        return None, list(document.problems), everything
    validated = validate(document, ProjectSpec)
    problems = [*document.problems, *validated.problems, *cross_check(document, validated, folder.name)]
    problems.sort(key=lambda problem: (problem.file != document.file, problem.line or 0, problem.key))
    return validated.spec, problems, validated.broken
