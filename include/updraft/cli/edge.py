"""Where the command line meets the deployment: settings, projects, store, and how errors end a command."""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import sqlalchemy as sa
import typer
from rich.console import Console

from updraft.errors import InputError, SettingsError, SpecError, TrainingInterrupted, UpdraftError
from updraft.loop.context import Loop
from updraft.settings import MLFLOW_PATIENCE, Settings, mlflow_sign_in
from updraft.spec.load import load_project, project_names
from updraft.spec.model import Project
from updraft.stack.home import UMASK
from updraft.store.anchors import Anchors
from updraft.store.store import Store
from updraft.store.trouble import trouble

OK, FAILED, BAD_INPUT, UNHEALTHY, INTERRUPTED = 0, 1, 2, 3, 75
"""Exit codes: done; it failed; the input is wrong (nothing was started); something needs attention; a training was asked
to end, wrote its checkpoint and goes on when it is run again (75 is EX_TEMPFAIL of sysexits.h)."""

WIDE = 10_000
"""Columns of what is no terminal: a log or a pipe has no edge at which a line would have to be wrapped."""


def _width(stream: TextIO) -> int | None:
    """Columns to lay out for; None where rich knows them, from the terminal or from ``COLUMNS``."""
    return None if stream.isatty() or "COLUMNS" in os.environ else WIDE


console = Console(highlight=False, width=_width(sys.stdout))
errors = Console(stderr=True, highlight=False, width=_width(sys.stderr))


def enter(env: MutableMapping[str, str]) -> None:
    """What a command does before anything else: it closes what it will write to others, and lets MLflow's client sign in.

    In a pod it is the pod's user and group that say who reads what.
    """
    if "KUBERNETES_SERVICE_HOST" not in env:
        os.umask(UMASK)
    with suppress(SettingsError):  # the command will say it
        env.update(mlflow_sign_in(env))


def ask_mlflow_once(env: MutableMapping[str, str]) -> None:
    """Let MLflow's client try no more than once: by itself it tries for minutes, and a person waits for this command.

    What MLflow is not told now, it is told by `maintenance`.
    """
    env.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def wait_for_mlflow(env: MutableMapping[str, str]) -> None:
    """Let MLflow's client wait as a training does, unless a person has said how it waits."""
    if "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in env:
        env.update(MLFLOW_PATIENCE)


@contextmanager
def explained() -> Iterator[None]:
    """End a command with the error's own words and a code that means something."""
    try:
        yield
    except (SpecError, SettingsError, InputError) as error:
        errors.print(str(error), markup=False, style="red", soft_wrap=True)
        raise typer.Exit(BAD_INPUT) from error
    except TrainingInterrupted as error:
        errors.print(f"Interrupted: {error}", markup=False, style="yellow", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from error
    except UpdraftError as error:
        errors.print(f"{type(error).__name__}: {error}", markup=False, style="red", soft_wrap=True)
        raise typer.Exit(FAILED) from error
    except sa.exc.DBAPIError as error:
        errors.print(trouble(error), markup=False, style="red", soft_wrap=True)
        raise typer.Exit(FAILED) from error


def who() -> str:
    """Who runs this command, as the operating system knows it: nothing of the environment is believed.

    The real user of the process; where another user has called it (``sudo``), that one too.
    """
    user = os.getuid()
    caller = _caller(user)
    return _name(user) if caller is None else f"{_name(user)}, called by {_name(caller)}"


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"


def _caller(user: int) -> int | None:
    """The user at the other end of a ``sudo``: the nearest process above this one that is another user's and not root's."""
    import psutil

    try:
        above = [process.uids().real for process in psutil.Process().parents()]
    except psutil.Error:  # one of them has ended meanwhile, or is hidden from us
        return None
    return next((uid for uid in above if uid not in (user, 0)), None)


def settings() -> Settings:
    """Settings of this process."""
    return Settings.from_env(os.environ)


def project_folder(name: str) -> Path:
    """The folder of a project by its name, sound or not.

    :raises SpecError: when there is none.
    """
    root = settings().projects
    names = project_names(root)
    if name not in names:
        raise SpecError(f"no project {name!r} in {root}; there are {', '.join(names) or 'none'}")
    return root / name


def find_project(name: str) -> Project:
    """A project by its name, as it is in the environment of this process.

    :raises SpecError: when there is none, or it is broken.
    """
    return load_project(project_folder(name), settings().environment)


@contextmanager
def open_store() -> Iterator[Store]:
    """The store of the deployment."""
    store = Store.open(settings().need_store(), Anchors.of(settings()))
    try:
        yield store
    finally:
        store.close()


def loop_of(project: Project, store: Store) -> Loop:
    """The loop of a project of this deployment, with the models of MLflow, which is asked when one is loaded."""
    from updraft.loop.models import RegisteredModels
    from updraft.registry.mlflow_registry import ModelRegistry

    known = settings()
    return Loop(project, known, store, RegisteredModels(project.name, ModelRegistry(known.mlflow, known.home), store))


def write_json(value: Any) -> None:
    """JSON for scripts, on standard output and nothing else there."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")
