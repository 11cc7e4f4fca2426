"""What is wrong with a deployment outside of the embedded stack (Kubernetes, compose, Astro), seen from where it is asked.

Run it in a container of Airflow (``kubectl exec deploy/updraft-scheduler -- updraft doctor``): it has the settings and the rights that tasks have.
Nothing of the embedded stack is imported here, as the image has none of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

import sqlalchemy as sa

from updraft import files
from updraft.data.privacy import KEY_FILE
from updraft.errors import SettingsError, SpecError, StoreError
from updraft.registry import signing
from updraft.settings import ENV_FILE, MLFLOW_SIGN_IN, Settings
from updraft.spec.load import project_names
from updraft.stack.findings import Finding, Level, libraries
from updraft.store import anchors
from updraft.store.trouble import trouble

OLDEST_POSTGRESQL = 14
"""Major version: the oldest that Airflow 3.3 names as supported."""

AIRFLOW_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_ANSWER_SECONDS = 10.0


def stands_outside(settings: Settings, env: Mapping[str, str]) -> bool:
    """Whether this deployment is none of the embedded stack: that one writes ``env.json``, and needs a library that the image lacks."""
    if (settings.home / ENV_FILE).exists():
        return False
    return "UPDRAFT_STORE" in env or find_spec("supervisor") is None


def diagnose_outside(settings: Settings, env: Mapping[str, str]) -> list[Finding]:
    """Look at settings, databases, buckets, MLflow, Airflow and keys. Writes one object into the lake, and removes it."""
    findings = list(libraries())
    findings += unset(settings, env)
    findings += projects(settings)
    findings += [store(settings), airflow_tables(env)]
    findings += [place(name, url) for name, url in places(settings, env)]
    findings += mlflow(settings, env)
    findings += airflow(settings)
    findings += keys(settings, env)
    return findings


def unset(settings: Settings, env: Mapping[str, str]) -> Iterator[Finding]:
    """Settings that a deployment of more than one container has to have, and this one lacks."""
    needs = {
        "UPDRAFT_STORE": (settings.store, Level.ERROR, "decisions, releases and measurements have no place"),
        "UPDRAFT_MLFLOW": (settings.mlflow, Level.ERROR, "models are neither kept nor loaded"),
        "UPDRAFT_LAKE": (env.get("UPDRAFT_LAKE", ""), Level.ERROR, f"partitions would go to {settings.lake}, which is this container's alone"),
        "UPDRAFT_AIRFLOW": (settings.airflow, Level.WARNING, "alerts have no links"),
    }  # fmt: skip
    for name, (value, level, consequence) in needs.items():
        if not value:
            todo = f"set {name} in the environment of every container of Airflow (docker/README.md; read by updraft/settings.py)"
            yield Finding(level=level, what="settings", message=f"{name} is not set: {consequence}", todo=todo)


def projects(settings: Settings) -> Iterator[Finding]:
    """Whether there are projects, and what holds for all of them reads."""
    from updraft.spec.deployment import load_deployment

    try:
        names = project_names(settings.projects)
        load_deployment(settings.deployment)
    except (SpecError, OSError) as error:
        todo = "correct the file, or UPDRAFT_PROJECTS and UPDRAFT_DEPLOYMENT"
        yield Finding(level=Level.ERROR, what="projects", message=str(error), todo=todo)
        return
    if names:
        yield Finding(level=Level.OK, what="projects", message=f"{len(names)} in {settings.projects}")
    else:
        todo = "build the image with them, or mount them and set UPDRAFT_PROJECTS"
        yield Finding(level=Level.WARNING, what="projects", message=f"none in {settings.projects}", todo=todo)


def store(settings: Settings) -> Finding:
    """Whether the store is a PostgreSQL that is new enough, with the tables of this version, in which this user may write."""
    from updraft.store import migrations

    if not settings.store:
        return Finding(level=Level.ERROR, what="store", message="not looked at: UPDRAFT_STORE is not set")
    try:
        engine = sa.create_engine(settings.need_store())
        try:
            with engine.connect() as connection:
                version = connection.dialect.server_version_info or (0,)
                if connection.dialect.name != "postgresql" or int(version[0]) < OLDEST_POSTGRESQL:
                    message = f"{connection.dialect.name} {'.'.join(map(str, version))} is too old or none that Updraft speaks to"
                    todo = f"point UPDRAFT_STORE to PostgreSQL {OLDEST_POSTGRESQL} or later"
                    return Finding(level=Level.ERROR, what="store", message=message, todo=todo)
            if missing := migrations.pending(settings.store):
                message = f"it lacks the migrations {missing[0]} to {missing[-1]}"
                return Finding(
                    level=Level.ERROR, what="store", message=message, todo="python -m updraft.store.migrations"
                )
            with engine.connect() as connection:
                allowed = sa.text("SELECT has_table_privilege(current_user, 'decisions', 'INSERT'), current_user")
                may_write, who = connection.execute(allowed).one()
        finally:
            engine.dispose()
    except (SettingsError, StoreError) as error:
        return Finding(level=Level.ERROR, what="store", message=str(error))
    except sa.exc.DBAPIError as error:
        return Finding(level=Level.ERROR, what="store", message=trouble(error))
    if not may_write:
        todo = "connect as the owner of the tables, or grant it SELECT, INSERT, UPDATE and DELETE on all of them"
        return Finding(level=Level.ERROR, what="store", message=f"{who} may not write into it", todo=todo)
    return Finding(level=Level.OK, what="store", message=f"PostgreSQL {version[0]}, with the tables of this version")


def airflow_tables(env: Mapping[str, str]) -> Finding:
    """Whether Airflow's database answers and was migrated. Which revision it has to have, Airflow alone knows."""
    url = env.get(AIRFLOW_DATABASE, "")
    if not url:
        todo = f"set {AIRFLOW_DATABASE}, or look from a container of Airflow"
        return Finding(level=Level.WARNING, what="airflow tables", message=f"{AIRFLOW_DATABASE} is not set", todo=todo)
    try:
        engine = sa.create_engine(url)
        try:
            with engine.connect() as connection:
                if not sa.inspect(connection).has_table("alembic_version"):
                    message = "Airflow's database has no tables yet"
                    return Finding(level=Level.ERROR, what="airflow tables", message=message, todo="airflow db migrate")
        finally:
            engine.dispose()
    except sa.exc.DBAPIError as error:
        why = str(error.orig).partition("\n")[0]
        todo = f"start the database, or correct {AIRFLOW_DATABASE}"
        return Finding(level=Level.ERROR, what="airflow tables", message=f"no answer ({why})", todo=todo)
    except (sa.exc.ArgumentError, ImportError) as error:
        message = f"{AIRFLOW_DATABASE} does not read as the URL of a database ({type(error).__name__})"
        todo = "write it as postgresql+psycopg2://USER:PASSWORD@HOST:PORT/DATABASE, with @, : and / in a password as %40, %3A and %2F"
        return Finding(level=Level.ERROR, what="airflow tables", message=message, todo=todo)
    return Finding(
        level=Level.OK,
        what="airflow tables",
        message="there; `airflow db check-migrations` says whether all of them are",
    )


def places(settings: Settings, env: Mapping[str, str]) -> list[tuple[str, str]]:
    """The URLs that are written to, each with the setting that names it."""
    named = [
        ("UPDRAFT_LAKE", settings.lake),
        ("UPDRAFT_RAW", settings.raw),
        ("UPDRAFT_AUDIT", settings.audit),
        ("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", env.get("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", "")),
    ]
    return [(name, url) for name, url in named if url]


def place(name: str, url: str) -> Finding:
    """Whether an object can be written, read, listed and removed there. Of the anchors' place it is asked only whether they can be listed: what is
    written there may never go away again.
    """
    probe = f"{url.rstrip('/')}/.doctor/{uuid.uuid4().hex}"
    try:
        if name == "UPDRAFT_AUDIT":
            files.names_below(url)
        else:
            files.write_bytes(probe, b"looked at by `updraft doctor`")
            files.read_bytes(probe)
            files.names_below(probe.rpartition("/")[0])
            files.remove(probe)
    except (SettingsError, OSError) as error:  # which URL, and which right it lacks, is in its words
        todo = f"correct {name}, AWS_ENDPOINT_URL or the key's rights (docker/s3/policy airflow {url})"
        return Finding(level=Level.ERROR, what=name, message=str(error), todo=todo)
    return Finding(level=Level.OK, what=name, message=url)


def mlflow(settings: Settings, env: Mapping[str, str]) -> Iterator[Finding]:
    """Whether MLflow answers, and lets the account of this process in."""
    import httpx

    from updraft.http_client import open_client

    if not settings.mlflow:
        return
    user, password = (env.get(name, "") for name in MLFLOW_SIGN_IN)
    url = f"{settings.mlflow.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        with open_client(seconds=_ANSWER_SECONDS) as client:
            answer = client.get(url, auth=(user, password) if user else None)
    except (httpx.RequestError, httpx.InvalidURL) as error:
        message = f"{settings.mlflow} does not answer ({error})"
        yield Finding(level=Level.ERROR, what="mlflow", message=message, todo="start it, or correct UPDRAFT_MLFLOW")
        return
    if answer.status_code in (401, 403):
        message = (
            f"{settings.mlflow} refuses the account {user!r}" if user else f"{settings.mlflow} asks for an account"
        )
        todo = f"set {' and '.join(MLFLOW_SIGN_IN)} to an account that MLflow has, with rights to write"
        yield Finding(level=Level.ERROR, what="mlflow", message=message, todo=todo)
    elif not answer.is_success:
        message = f"{settings.mlflow} answers {answer.status_code}"
        yield Finding(
            level=Level.ERROR, what="mlflow", message=message, todo="see that UPDRAFT_MLFLOW is MLflow's address"
        )
    else:
        yield Finding(level=Level.OK, what="mlflow", message=settings.mlflow)


def airflow(settings: Settings) -> Iterator[Finding]:
    """Whether Airflow is healthy, at the address that alerts link to."""
    import httpx

    from updraft.http_client import open_client

    if not settings.airflow:
        return
    try:
        with open_client(seconds=_ANSWER_SECONDS) as client:
            answer = client.get(f"{settings.airflow}/api/v2/monitor/health")
            health = answer.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        message = f"no health at {settings.airflow} ({error})"
        todo = "correct UPDRAFT_AIRFLOW where people cannot reach it either: the links of alerts lead there"
        yield Finding(level=Level.WARNING, what="airflow", message=message, todo=todo)
        return
    for program, state in health.items():
        if state.get("status") not in ("healthy", None):
            message = f"its {program.replace('_', ' ')} is {state['status']}"
            yield Finding(level=Level.ERROR, what="airflow", message=message, todo="look at the log of its container")
    if all(state.get("status") in ("healthy", None) for state in health.values()):
        yield Finding(level=Level.OK, what="airflow", message=f"healthy {settings.airflow}")


def keys(settings: Settings, env: Mapping[str, str]) -> Iterator[Finding]:
    """Whether this container has the deployment's keys: one that makes its own signs what no other believes."""
    needed = (
        (signing.PRIVATE, anchors.PRIVATE)
        if settings.pseudonym_connection
        else (KEY_FILE, signing.PRIVATE, anchors.PRIVATE)
    )
    missing = [name for name in needed if not (settings.keys / name).is_file()]
    if not missing:
        yield Finding(level=Level.OK, what="keys", message=f"in {settings.keys}")
        return
    message = f"{', '.join(missing)} not in {settings.keys}: this container would make its own, and sign what no other believes"
    level = Level.ERROR if "KUBERNETES_SERVICE_HOST" in env else Level.WARNING
    todo = "mount the Secret updraft-keys at /run/updraft/keys (docker/helm/secrets makes it), or a volume that all share at UPDRAFT_HOME"
    yield Finding(level=level, what="keys", message=message, todo=todo)
