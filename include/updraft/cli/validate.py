"""``updraft validate``: is a project sound, and what can its policy show?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from updraft.cli.edge import BAD_INPUT, UNHEALTHY, console, explained, find_project, open_store, settings, write_json
from updraft.errors import InputError, SettingsError, SpecError, TrainingError
from updraft.spec.cluster_defaults import clusters_per_partition
from updraft.spec.environments import SPEC, environment_words, environments, misnamed
from updraft.spec.evidence import evidence_words, undecidable
from updraft.spec.load import BrokenProject, load_project_or_problems, load_projects, spec_document
from updraft.spec.model import Project, ProjectSpec


def validate(
    project: Annotated[str | None, typer.Argument(help="name of one project; all when left out")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="read the files of every partition, however long it takes")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="a file as the project's first source delivers it: what would become of its rows")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Check project folders: every error at once, with file, key, value and what is allowed. Ends with 2 when one is broken.

    Columns are checked where a file of the source can be read; a note says where it cannot. A partition is ingested aside and its
    labels looked at, and features.py is tried on some of its rows, in a process of its own, within a minute. The files of the other
    partitions are read too: all of them, or, where there are too many for twenty seconds, the newest, the oldest and a spread between them; a
    note says how many of how many.

    Notes say what the policy can and cannot do with this schedule: how long a budget lasts, when drift is measured, whether a verdict can
    be reached at all. With a history in the store it also says which gain a change can show within release.change.shadow.at_most.

    With --data the project's contract is tried on a file instead: the rows that would be refused, why, with examples, what would be
    published, and to which type each column is read. Nothing is written. Ends with 3 when a partition would be refused.

    Of the environments that a project has files of (docs/environments.md) the one in UPDRAFT_ENVIRONMENT is judged so; project.yaml and the
    files of the others are held against what may stand in them, without their sources.

    Example: updraft validate flight_delays
    """
    if data is not None:
        _sample(project, data, as_json=as_json)
        return
    with explained():
        known = load_projects(settings().projects, settings().environment)
        if project is not None:
            if project not in known:
                raise SpecError(
                    f"no project {project!r} in {settings().projects}; there are {', '.join(known) or 'none'}"
                )
            known = {project: known[project]}
        told = {name: judge(loaded, every=every) for name, loaded in known.items()}
    if as_json:
        write_json(told)
    else:
        show_judged(told)
    if any(not verdict["sound"] for verdict in told.values()):
        raise typer.Exit(BAD_INPUT)


def _sample(project: str | None, data: str, *, as_json: bool) -> None:
    """What the contract of a project would do to a file."""
    from updraft.cli.sample import show_sample
    from updraft.data.sample import judge_sample

    with explained():
        if project is None:
            raise InputError("--data is tried on one project: name it, as in `updraft validate PROJECT --data FILE`")
        judged = judge_sample(find_project(project), settings(), data)
    if as_json:
        write_json({project: judged.as_dict()})
    else:
        show_sample(project, judged)
    if judged.problems or judged.refused:
        raise typer.Exit(BAD_INPUT if judged.problems else UNHEALTHY)


def show_judged(judged: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what :func:`judge` says of projects, by their names."""
    for name, verdict in judged.items():
        console.print(_headline(name, verdict))
        for line in [*verdict["problems"], *verdict["notes"]]:
            console.print(f"  {line}", markup=False, soft_wrap=True)


def _headline(name: str, verdict: Mapping[str, Any]) -> str:
    return (
        f"{name}: sound"
        if verdict["sound"]
        else f"{name}: {len(verdict['problems'])} problem{'s' if len(verdict['problems']) != 1 else ''}"
    )


def judge(project: Project | BrokenProject, *, every: bool) -> dict[str, Any]:
    """Whether a project is ``sound``, its ``problems`` and ``notes``.

    :param every: whether to read the files of every partition, however long it takes.
    """
    from updraft.data import file_reading
    from updraft.data.file_reading import read_files
    from updraft.data.mentions import check_mentions
    from updraft.data.rehearsal import rehearse
    from updraft.loop.policy_limits import policy_notes

    problems: list[str] = []
    notes: list[str] = []
    if isinstance(project, BrokenProject):
        problems += [str(problem) for problem in project.problems]
    else:
        problems += _deeper(project)
    if project.spec is not None:
        mentions = check_mentions(
            project.folder,
            project.spec,
            project.broken if isinstance(project, BrokenProject) else frozenset(),
            project.environment,
        )
        problems += [str(problem) for problem in mentions.problems]
        notes += mentions.notes
    if isinstance(project, Project):
        problems += _policy_problems(project)
        if not problems:
            rehearsal = rehearse(project, settings())
            problems += rehearsal.problems
            notes += rehearsal.notes
        files_read = read_files(project, settings(), seconds=None if every else file_reading.TIME)
        # The newest file was looked at before: what is wrong with it is told once, with the key of project.yaml that names it.
        problems += [fault for fault in files_read.problems if not any(fault in told for told in problems)]
        notes += files_read.notes
        notes += _joins(project.spec)
        notes += [*policy_notes(project.spec), *_missing_libraries(project.spec)]
    if not problems and isinstance(project, Project):
        notes += [f"evidence is counted {evidence_words(project.spec)}", *undecidable(project.spec), *_power(project)]
    problems += _of_other_environments(project, problems)
    if (holds := environment_words(project.folder, project.environment)) is not None:
        notes.append(holds)
    return {
        "sound": not problems,
        "environment": project.environment,
        "problems": list(dict.fromkeys(problems)),
        "notes": notes,
    }


def _of_other_environments(project: Project | BrokenProject, known: Sequence[str]) -> list[str]:
    """What is wrong with the project in the environments that are not chosen; their sources are not asked."""
    told = [str(problem) for problem in misnamed(project.folder)]
    for environment in (None, *environments(project.folder)):
        if environment == project.environment:
            continue
        other = load_project_or_problems(project.folder, environment)
        whose = f"where {SPEC} alone holds" if environment is None else f"in environment {environment}"
        told += [f"{problem} ({whose})" for problem in _problems_on_paper(other) if problem not in known]
    return told


def _problems_on_paper(project: Project | BrokenProject) -> Iterator[str]:
    """What is wrong with a project's files, without a look at its sources."""
    if isinstance(project, BrokenProject):
        yield from map(str, project.problems)
        return
    yield from _deeper(project)
    yield from _policy_problems(project)


def _policy_problems(project: Project) -> list[str]:
    from updraft.loop.policy_limits import policy_problems

    return [
        str(problem) for problem in policy_problems(spec_document(project.folder, project.environment), project.spec)
    ]


def _deeper(project: Project) -> list[str]:
    """What only loading shows: the data contract, and for trainings in pods the deployment."""
    from updraft.data.contract import load_contract
    from updraft.spec.deployment import check_compute

    checks: list[Callable[[], object]] = [partial(load_contract, project)]
    if project.spec.training.compute.backend == "kubernetes":
        checks.append(partial(check_compute, project.spec.training.compute, settings().deployment))
    problems = []
    for check in checks:
        try:
            check()
        except SpecError as error:
            problems += str(error).splitlines()
    return problems


def _joins(spec: ProjectSpec) -> list[str]:
    """What a join by time takes, as its words in project.yaml are few."""
    return [
        f"data.sources.{name} joins {source.join_in_words}"
        for name, source in spec.data.sources.items()
        if source.asof or source.aggregate
    ]


def _missing_libraries(spec: ProjectSpec) -> list[str]:
    """Which trainers cannot learn in this environment, and what that keeps from working; nothing of it is wrong in the project."""
    from updraft.loop.trials import why_no_refit_trial
    from updraft.training.trainers import library_versions

    if spec.training.compute.backend == "local":
        keeps = "no training of it can start in such an environment"
    else:
        keeps = "its trainings in pods need nothing here, `updraft backtest` does"
    notes = []
    for trainer in spec.training.trainers:
        try:
            library_versions(trainer.name)
        except TrainingError as error:
            notes.append(f"training.trainers: {error}; {keeps}")
    retrain = spec.monitoring.remedies.retrain
    if retrain is not None and "performance" in retrain.on and (without := why_no_refit_trial(spec)):
        notes.append(f"monitoring.remedies.retrain: {without}")
    return notes


def _power(project: Project) -> list[str]:
    """Which gain a change can show within ``at_most``, from the evidence in the store; why not, where that cannot be read."""
    import sqlalchemy as sa

    from updraft.release.power import detectable_gain, spread
    from updraft.store.trouble import trouble

    if not settings().store:
        return ["no store here, so the power of its policy cannot be told; `make up` starts one"]
    try:
        with open_store() as store:
            opened = [release.id for release in store.releases(project.name)]
            gains = [row.gain for release in opened for row in store.evidence(project.name, release)]
    except SettingsError as error:
        return [f"the power of its policy cannot be told: {error}"]
    except sa.exc.DBAPIError as error:
        return [f"the power of its policy cannot be told: {trouble(error)}"]
    if len(gains) < 14:
        return [f"{len(gains)} clusters of evidence so far: too few to tell the power of the policy"]
    sd, carried = spread(gains)
    per_partition = clusters_per_partition(project.spec.data.schedule, project.spec.release.cluster)
    at_most = project.spec.release.change.shadow.at_most
    clusters = at_most if per_partition is None else max(int(at_most * per_partition), 1)
    release = project.spec.release
    gain = detectable_gain(sd, carried, clusters, release.confidence, margin=release.margin)
    if gain > 0:
        words = f"a change must gain {gain:.4f} in {release.metric}"
    else:
        words = f"a change may cost up to {-gain:.4f} in {release.metric} (release.margin is {release.margin:g})"
    return [f"{words} to be shown good enough within {at_most} partitions with 80 % power"]
