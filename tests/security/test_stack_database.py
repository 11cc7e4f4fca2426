"""PostgreSQL of the stack: a password opens one role, a role its own database, and no client hands its password to an impostor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from psycopg2 import sql
from sqlalchemy.ext.asyncio import create_async_engine
from tests.support.others import common_folder
from tests.support.postgres import free_port

from updraft.errors import StackError
from updraft.settings import Settings
from updraft.stack import doctor, environment, home, postgres, secrets
from updraft.stack.layout import Layout, write_private
from updraft.store.store import Store

SHARED = "the-one-password-of-older-versions"
ROLES = (*postgres.DATABASES, postgres.SUPERUSER)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL as the stack runs it."""

    port: int
    layout: Layout


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with common_folder() as folder:
        layout = Layout.of(Settings.from_env({"UPDRAFT_HOME": str(folder / "ho me")}))
        home.claim(layout.home, ours=(), servants=postgres.servants(layout))
        placement = postgres.place(layout)
        postgres.initialise(placement, SHARED)
        port = free_port()
        who: dict[str, Any] = {} if placement.user is None else {"user": placement.user, "extra_groups": []}
        with subprocess.Popen(
            placement.command(port), env=postgres.kept_of(os.environ), stderr=subprocess.DEVNULL, **who
        ) as process:
            try:
                assert postgres.wait(port, replace(made(layout), database=SHARED), seconds=60)
                write_private(layout.ports, json.dumps({"postgres": port, "mlflow": 1, "airflow": 2}))
                yield Server(port, layout)
            finally:
                process.send_signal(signal.SIGINT)


def made(layout: Layout) -> secrets.Secrets:
    return secrets.load_or_make(layout.secrets)


@pytest.fixture
def old(server: Server) -> secrets.Secrets:
    """The server as an older version left it, every role with one password; the secrets that this version reads then."""
    write_private(server.layout.secrets, f'{{"database": "{SHARED}"}}')
    known = made(server.layout)
    for password in (SHARED, known.database_superuser, *_LAST):
        with contextlib.suppress(psycopg2.OperationalError):
            session = connect(server, postgres.SUPERUSER, password)
            break
    session.autocommit = True
    with session.cursor() as cursor:
        for role in ROLES:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
            statement = "ALTER ROLE {} LOGIN PASSWORD {}" if cursor.fetchone() else "CREATE ROLE {} LOGIN PASSWORD {}"
            cursor.execute(sql.SQL(statement).format(sql.Identifier(role), sql.Literal(SHARED)))
        for name in postgres.DATABASES:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if not cursor.fetchone():
                cursor.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(name))
                )
            cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(sql.Identifier(name)))
    session.close()
    _LAST.append(known.database_superuser)
    return known


_LAST: list[str] = []


def connect(server: Server, role: str, password: str, database: str | None = None) -> Any:
    return psycopg2.connect(
        host="127.0.0.1", port=server.port, user=role, password=password, dbname=database or role, connect_timeout=5
    )


def opens(server: Server, role: str, password: str, database: str | None = None) -> bool:
    try:
        connect(server, role, password, database).close()
    except psycopg2.OperationalError:
        return False
    return True


def own(known: secrets.Secrets, role: str) -> str:
    return known.database_superuser if role == postgres.SUPERUSER else known.of_role(role)


def test_the_shared_password_of_an_older_version_opens_nothing_after_the_next_start(server, old):
    assert all(opens(server, role, SHARED) for role in ROLES)
    assert [found.level for found in doctor.shared_passwords(server.layout)] == [doctor.Level.ERROR]
    postgres.settle(server.port, old)
    for role in ROLES:
        assert not opens(server, role, SHARED), role
        for other in ROLES:
            assert opens(server, role, own(old, other), role) == (role == other), (role, other)
    assert list(doctor.shared_passwords(server.layout)) == []


def test_a_role_reaches_its_own_database_alone(server, old):
    assert opens(server, "mlflow", SHARED, "updraft")
    postgres.settle(server.port, old)
    for role in postgres.DATABASES:
        reached = [
            name
            for name in (*postgres.DATABASES, postgres.SUPERUSER, "template1")
            if opens(server, role, own(old, role), name)
        ]
        assert reached == [role]


def test_settling_again_changes_nothing_and_mends_what_was_changed_by_hand(server, old):
    def verifiers() -> dict[str, str]:
        with connect(server, postgres.SUPERUSER, old.database_superuser) as session, session.cursor() as cursor:
            cursor.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY(%s)", [list(ROLES)])
            return dict(cursor.fetchall())

    postgres.settle(server.port, old)
    before = verifiers()
    postgres.settle(server.port, replace(old, database=""))
    assert verifiers() == before
    postgres.settle(server.port, replace(old, database="", database_mlflow="rotated"))
    assert opens(server, "mlflow", "rotated")
    assert not opens(server, "mlflow", old.database_mlflow)
    assert {role for role, verifier in verifiers().items() if before[role] != verifier} == {"mlflow"}


def test_a_start_that_is_killed_half_way_leaves_the_old_passwords_and_the_next_one_mends(server, old):
    with connect(server, postgres.SUPERUSER, SHARED) as blocking, blocking.cursor() as cursor:
        cursor.execute(sql.SQL("ALTER ROLE {} VALID UNTIL 'infinity'").format(sql.Identifier(postgres.SUPERUSER)))
        code = (
            "import sys; from pathlib import Path; from updraft.stack import postgres, secrets;"
            "postgres.settle(int(sys.argv[1]), secrets.load_or_make(Path(sys.argv[2])))"
        )
        command = [sys.executable, "-c", code, str(server.port), str(server.layout.secrets)]
        settling = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        deadline = time.monotonic() + 30
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER ROLE%'"
        cursor.execute(waiting)
        while cursor.fetchone() != (1,):  # three roles are changed, the superuser is not
            assert settling.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(waiting)
        settling.kill()
        settling.wait()
        blocking.rollback()
    assert all(opens(server, role, SHARED) for role in ROLES)
    postgres.settle(server.port, made(server.layout))
    assert not any(opens(server, role, SHARED) for role in ROLES)
    postgres.settle(server.port, made(server.layout))  # as after a kill before the secrets were written anew
    secrets.forget_shared(server.layout.secrets)
    postgres.settle(server.port, made(server.layout))


def test_no_password_stands_in_a_statement_that_the_server_may_log(server, old):
    statements: list[str] = []

    class Noting:
        def __init__(self, cursor: Any) -> None:
            self._cursor, self.connection = cursor, cursor.connection

        def execute(self, statement: Any, values: Any = None) -> None:
            statements.append(statement if isinstance(statement, str) else statement.as_string(self.connection))
            self._cursor.execute(statement, values)

        def fetchone(self) -> Any:
            return self._cursor.fetchone()

    with connect(server, postgres.SUPERUSER, SHARED) as session, session.cursor() as cursor:
        postgres._give_password(Noting(cursor), "mlflow", old.database_mlflow)  # type: ignore[arg-type]
        session.rollback()
    assert any(statement.startswith('ALTER ROLE "mlflow" PASSWORD') for statement in statements)
    assert not any(old.database_mlflow in statement for statement in statements)


@dataclass
class Impostor:
    """Listens where PostgreSQL did, and asks each client in some way who it is; keeps what it was told."""

    ask: bytes
    port: int = 0
    told: bytes = b""
    clients: int = 0
    _listener: socket.socket = field(default_factory=socket.socket)

    def __enter__(self) -> Impostor:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, contextlib.suppress(OSError):
                    self._meet(client)

    def _meet(self, client: socket.socket) -> None:
        client.settimeout(3)
        while True:
            (length,) = struct.unpack("!I", client.recv(4, socket.MSG_WAITALL))
            message = client.recv(length - 4, socket.MSG_WAITALL)
            if struct.unpack("!I", message[:4]) != (80877103,):  # not "may we use TLS"
                break
            client.sendall(b"N")
        self.clients += 1
        client.sendall(self.ask)
        with contextlib.suppress(TimeoutError):
            while part := client.recv(4096):
                self.told += part


def _authentication(kind: int, more: bytes = b"") -> bytes:
    return b"R" + struct.pack("!II", 8 + len(more), kind) + more


CLEARTEXT, MD5 = _authentication(3), _authentication(5, b"salt")
WELCOME = _authentication(0) + b"K" + struct.pack("!III", 12, 1, 1) + b"Z" + struct.pack("!I", 5) + b"I"


def of_libpq(url: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    engine.connect().close()


def of_asyncio(url: str) -> None:
    async def connect() -> None:
        engine = create_async_engine(url, poolclass=sa.pool.NullPool)
        async with engine.connect():
            pass

    asyncio.run(connect())


@pytest.mark.parametrize("ask", [CLEARTEXT, MD5, WELCOME], ids=["cleartext", "md5", "no password"])
def test_an_impostor_on_the_port_of_postgresql_learns_no_password_and_is_not_believed(
    tmp_path: Path, ask: bytes
) -> None:
    layout = Layout.of(Settings.from_env({"UPDRAFT_HOME": str(tmp_path)}))
    known = made(layout)
    with Impostor(ask) as impostor:
        ports = {"postgres": impostor.port, "mlflow": 1, "airflow": 2}
        env = environment.public(Settings.from_env({"UPDRAFT_HOME": str(tmp_path)}), layout, ports, known)
        urls = [env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"], env["UPDRAFT_STORE"]]
        urls += [environment.mlflow_database(ports, known)]
        for url in urls:
            with pytest.raises(sa.exc.OperationalError, match="authentication method"):
                of_libpq(url)
        with pytest.raises(sa.exc.OperationalError, match="authentication method"):
            of_asyncio(env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"])
        with pytest.raises(sa.exc.OperationalError):
            Store.open(env["UPDRAFT_STORE"]).decisions("any")
        assert not postgres.answers(impostor.port, replace(known, database=SHARED))
        with pytest.raises(StackError, match="does not let user postgres in"):
            postgres.settle(impostor.port, known)
        assert impostor.clients >= len(urls) + 4
        for password in (known.database_superuser, *map(known.of_role, postgres.DATABASES), SHARED):
            assert password.encode() not in impostor.told
        assert b"md5" not in impostor.told


def test_this_impostor_would_have_been_told_the_password(tmp_path: Path) -> None:
    with Impostor(CLEARTEXT) as impostor:
        url = postgres.url("airflow", impostor.port, "hunter2").replace(f"require_auth={postgres.PROOF}", "")
        with pytest.raises(sa.exc.OperationalError):
            of_libpq(url)
        assert b"hunter2" in impostor.told
