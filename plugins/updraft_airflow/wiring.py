"""What every DAG file needs: the projects to build DAGs for, and DAG arguments that are the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronPartitionTimetable, get_parsing_context

from updraft.spec.load import BrokenProject, load_project_or_problems, project_names, shown_name
from updraft.spec.model import Project
from updraft_airflow.deployment import settings
from updraft_airflow.notifiers.failure import MendedNotifier, UpdraftNotifier

BROKEN = "broken"


def projects(stage: str) -> Iterator[Project]:
    """The sound projects whose ``<name>.<stage>`` DAG is wanted: all of them, or the one that a task process asks for."""
    for name in _wanted(stage):
        project = load_project_or_problems(settings().projects / name, settings().environment)
        if isinstance(project, Project):
            yield project


def broken_projects() -> Iterator[BrokenProject]:
    """The broken projects whose placeholder DAG is wanted."""
    for name in _wanted(BROKEN):
        project = load_project_or_problems(settings().projects / name, settings().environment)
        if isinstance(project, BrokenProject):
            yield project


def _wanted(stage: str) -> list[str]:
    asked = get_parsing_context().dag_id
    names = project_names(settings().projects)
    if asked is None:
        return names
    project, _, asked_stage = asked.rpartition(".")
    return [name for name in names if asked_stage == stage and shown_name(name) == project]


def stage_dag(project: Project, stage: str, doc: str, **arguments: Any) -> DAG:
    """The DAG ``<project>.<stage>`` with owner, retries, docs and failure alerts."""
    spec = project.spec
    return DAG(
        dag_id=f"{spec.name}.{stage}",
        description=f"{stage} of {spec.name}: {spec.description}"[:500],
        doc_md=f"{doc}\n\n**Project** `{spec.name}` · **owner** {spec.owner} · {spec.description}",
        start_date=datetime.combine(spec.data.start, datetime.min.time(), UTC),
        catchup=False,
        is_paused_upon_creation=False,
        tags=list(dict.fromkeys(("updraft", spec.name, stage, *spec.tags))),
        default_args={
            "owner": spec.owner,
            "retries": 2,
            "retry_delay": timedelta(seconds=5),
            "retry_exponential_backoff": 2.0,
            "max_retry_delay": timedelta(minutes=5),
            "on_failure_callback": UpdraftNotifier(project=spec.name),
            "on_success_callback": MendedNotifier(project=spec.name),
            "on_skipped_callback": MendedNotifier(project=spec.name),
        },
        **arguments,
    )


def partition_timetable(project: Project) -> CronPartitionTimetable:
    """The ticks of a project's partitions, each with its key."""
    from updraft.data.partitions import KEY_FORMAT

    return CronPartitionTimetable(project.spec.data.schedule, timezone="UTC", key_format=KEY_FORMAT)


def end_date(project: Project) -> datetime | None:
    """When the project's history ends, if it does."""
    end = project.spec.data.end
    return datetime.combine(end, datetime.min.time(), UTC) if end else None


def asset_name(project: str, what: str) -> str:
    """Name of a project's asset in the UI."""
    return f"{project}.{what}"


def placeholder_dag(broken: BrokenProject) -> DAG:
    """The DAG ``<name>.broken``: it carries the problems in its docs and fails with them when run."""
    listed = "\n".join(f"* {problem}" for problem in broken.problems)
    return DAG(
        dag_id=f"{broken.name}.{BROKEN}",
        description=f"{broken.name} is broken: {len(broken.problems)} problem{'s' * (len(broken.problems) != 1)}",
        doc_md=f"# {broken.name} is broken\n\nIts DAGs come back as soon as the folder `{broken.folder}` is sound:\n\n{listed}",
        schedule=None,
        catchup=False,
        is_paused_upon_creation=False,
        tags=["updraft", broken.name, BROKEN],
        default_args={"owner": "updraft", "retries": 0},
    )
