"""Who may sign in to MLflow: a person as Airflow's ``admin``, programs as ``updraft``, and nobody else.

MLflow keeps accounts in its own database, and takes no notice of its configuration once an account is there. So the
accounts are kept at what the deployment's secrets say, in MLflow's table: at each start, before MLflow is started and,
when that made the table, after.
"""

from __future__ import annotations

from updraft.stack import postgres
from updraft.stack.layout import LOOPBACK, Layout, write_private
from updraft.stack.secrets import Secrets

PERSON, PROGRAMS = "admin", "updraft"
REMEMBERED = 60
"""Seconds for which MLflow remembers that a password was right: checking one takes 60 ms, and a training makes hundreds
of requests. Accounts that this module changes are not affected, as MLflow is then started anew."""


def write_config(layout: Layout, database_url: str, secrets: Secrets) -> None:
    """Write what MLflow's sign-in reads: its database, and the account that it makes itself before it serves anything.

    That account is the programs': they can work from MLflow's first answer on. Nobody else may do anything.
    """
    settings = {
        "default_permission": "NO_PERMISSIONS",
        "database_uri": database_url,
        "admin_username": PROGRAMS,
        "admin_password": secrets.mlflow_programs,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": str(REMEMBERED),
    }
    lines = [f"{name} = {value.replace('%', '%%')}" for name, value in settings.items()]
    write_private(layout.mlflow_sign_in, "\n".join(["[mlflow]", *lines, ""]))


def keep(port: int, secrets: Secrets) -> bool:
    """Bring both accounts to the passwords of this deployment.

    :param port: PostgreSQL's.
    :returns: whether an account that MLflow may remember was changed.
    """
    import psycopg2
    from werkzeug.security import check_password_hash, generate_password_hash

    session = psycopg2.connect(
        host=LOOPBACK,
        port=port,
        user="mlflow",
        password=secrets.database_mlflow,
        dbname="mlflow",
        connect_timeout=3,
        require_auth=postgres.PROOF,
    )
    changed = False
    try:
        with session, session.cursor() as cursor:
            cursor.execute("SELECT to_regclass('public.users')")
            if cursor.fetchone() == (None,):
                return False  # MLflow was never started with its sign-in
            for name, password in ((PERSON, secrets.admin), (PROGRAMS, secrets.mlflow_programs)):
                cursor.execute("SELECT password_hash, is_admin FROM users WHERE username = %s", [name])
                row = cursor.fetchone()
                if row is not None and row[1] and check_password_hash(row[0], password):
                    continue
                changed |= row is not None
                cursor.execute(
                    "INSERT INTO users (username, password_hash, is_admin) VALUES (%s, %s, true) ON CONFLICT (username) "
                    "DO UPDATE SET password_hash = excluded.password_hash, is_admin = true",
                    [name, generate_password_hash(password)],
                )
    finally:
        session.close()
    return changed
