"""``deployment.yaml`` -> :class:`Deployment`, or everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

from updraft.spec.compute import Compute, Deployment
from updraft.spec.document import read_document
from updraft.spec.part import memory_bytes
from updraft.spec.problems import Problem, SpecProblems, shown_path
from updraft.spec.validation import validate


def load_deployment(path: Path) -> Deployment:
    """Read and check the file.

    :raises SpecProblems: with every problem of it; also when it is not there.
    """
    try:
        document = read_document(path)
    except FileNotFoundError:
        message = "no such file; it says what holds for every project. Restore it, or set UPDRAFT_DEPLOYMENT"
        raise SpecProblems([Problem(shown_path(path), "", None, message)]) from None
    if document.node is None:
        raise SpecProblems(document.problems)
    validated = validate(document, Deployment)
    problems = [*document.problems, *validated.problems]
    if validated.spec is not None:
        defaults, here = validated.spec.kubernetes.defaults, ("kubernetes", "defaults", "memory_cap")
        sound = not {here, (*here[:2], "memory")} & validated.broken
        if sound and memory_bytes(defaults.memory_cap) < memory_bytes(defaults.memory):
            problems.append(document.problem(here, f"is below memory ({defaults.memory})", defaults.memory_cap))
    if problems or validated.spec is None:
        raise SpecProblems(sorted(problems, key=lambda problem: (problem.line or 0, problem.key)))
    return validated.spec


def check_compute(compute: Compute, path: Path) -> None:
    """Whether the deployment can give a project's pods what it asks for.

    :param path: of ``deployment.yaml``.
    :raises SpecError: when the file is wrong, or lets the project run no such image.
    """
    kubernetes = load_deployment(path).kubernetes
    if compute.image is not None:
        kubernetes.check_image(compute.image)
