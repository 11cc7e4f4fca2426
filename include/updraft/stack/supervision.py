"""supervisord: its configuration, its start, and questions to it over its socket."""

from __future__ import annotations

import http.client
import os
import secrets
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psutil
from supervisor.options import ClientOptions
from supervisor.xmlrpc import Faults, SupervisorTransport, UnixStreamHTTPConnection

from updraft.errors import StackError
from updraft.stack import environment, restarts
from updraft.stack.home import UMASK
from updraft.stack.layout import POSTGRES, PROGRAMS, Layout, write_private
from updraft.stack.processes import is_alive

_USER = "updraft"
_PATIENCE = 60.0
"""Seconds to wait for an answer. Supervisor's own client would wait for ever for a manager that is stopped (SIGSTOP)."""


@dataclass(frozen=True, kw_only=True)
class ProgramState:
    """One program as the process manager sees it."""

    name: str
    state: str
    pid: int | None
    since: float | None
    """Seconds since the epoch of the last start."""


def write_config(layout: Layout) -> None:
    """Write supervisord's configuration, with a new password of its socket: it starts with it, and ``supervisorctl -c`` reads it."""
    access = {"username": _USER, "password": secrets.token_urlsafe(32)}
    parts = [
        _section(
            "supervisord",
            {
                "nodaemon": "true",
                "logfile": layout.logs / "supervisord.log",
                "logfile_maxbytes": "5MB",
                "logfile_backups": "1",
                "pidfile": layout.supervisor_pid,
                "childlogdir": layout.logs,
                "umask": f"{UMASK:03o}",
                **({"user": "root"} if os.geteuid() == 0 else {}),
            },
        )
    ]
    parts.append(_section("unix_http_server", {"file": layout.supervisor_socket, "chmod": "0600", **access}))
    parts.append(_section("supervisorctl", {"serverurl": f"unix://{layout.supervisor_socket}", **access}))
    factory = "supervisor.rpcinterface:make_main_rpcinterface"
    parts.append(_section("rpcinterface:supervisor", {"supervisor.rpcinterface_factory": factory}))
    for priority, name in enumerate(PROGRAMS):
        python, plan = _quoted(sys.executable), _quoted(str(layout.plan))
        parts.append(
            _section(
                f"program:{name}",
                {
                    "command": f"{python} -m updraft.stack.wrapper {plan} {name}",
                    "priority": str(priority),
                    "umask": f"{UMASK:03o}",
                    "autostart": "false",  # `up` starts each when what it needs is there
                    "autorestart": "true",
                    "startsecs": "0",  # never given up; the wrapper holds back what keeps dying
                    "stopsignal": "INT" if name == POSTGRES else "TERM",
                    "stopasgroup": "false" if name == POSTGRES else "true",
                    "killasgroup": "true",
                    "stopwaitsecs": "15" if name == POSTGRES else "8",
                    "stdout_logfile": f"logs/{name}.log",  # from home, its working folder: expanded twice
                    "stdout_logfile_maxbytes": "20MB",
                    "stdout_logfile_backups": "2",
                    "redirect_stderr": "true",
                },
            )
        )
    write_private(layout.supervisor_config, "\n".join(parts))


def _section(name: str, keys: dict[str, Any]) -> str:
    """A section of the file. A ``%`` is doubled: it would be expanded."""
    lines = [f"{key} = {str(value).replace('%', '%%')}" for key, value in keys.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _quoted(word: str) -> str:
    """One word for supervisor's parser (shlex)."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def start(layout: Layout, *, keep_open: list[int]) -> None:
    """Start supervisord in a session of its own and wait until it answers.

    :param keep_open: descriptors that it holds as long as it lives: the locks of the ports.
    :raises StackError: when it does not come up.
    """
    layout.supervisor_socket.unlink(missing_ok=True)
    env = {**environment.inherited(os.environ), "PYTHONPATH": str(layout.root / "include")}
    with (layout.logs / "supervisord.out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(layout.supervisor_config)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            cwd=layout.home,
            umask=UMASK,
            start_new_session=True,
            pass_fds=keep_open,
        )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if running(layout) is not None and answers(layout):
            return
        time.sleep(0.1)
    text = (layout.logs / "supervisord.out").read_text(errors="replace")[-2000:].strip()
    raise StackError(f"the process manager did not start (see {layout.logs / 'supervisord.out'}): {text}")


def running(layout: Layout) -> psutil.Process | None:
    """The supervisord of this stack; None when it does not run. A pid file left by a reboot is not believed."""
    try:
        process = psutil.Process(int(layout.supervisor_pid.read_text()))
        ours = str(layout.supervisor_config) in process.cmdline()
    except (FileNotFoundError, ValueError, psutil.Error):
        return None
    return process if ours and is_alive(process) else None


def answers(layout: Layout) -> bool:
    """Whether supervisord can be asked."""
    try:
        _ask(layout, "supervisor.getState")
    except StackError:
        return False
    return True


def states(layout: Layout) -> list[ProgramState]:
    """Every program's state; all stopped when supervisord does not run."""
    if running(layout) is None:
        return [ProgramState(name=name, state="STOPPED", pid=None, since=None) for name in PROGRAMS]
    known = {info["name"]: info for info in _ask(layout, "supervisor.getAllProcessInfo")}
    return [
        ProgramState(
            name=name,
            state=known[name]["statename"],
            pid=known[name]["pid"] or None,
            since=known[name]["start"] if known[name]["pid"] else None,
        )
        for name in PROGRAMS
        if name in known
    ]


def start_program(layout: Layout, name: str) -> None:
    """Start one program unless it runs. A start that is asked for counts as no restart."""
    mark = restarts.asked_for(layout.stack, name)
    mark.touch()
    if _ask(layout, "supervisor.startProcess", name, False, pardon=Faults.ALREADY_STARTED) is None:
        mark.unlink(missing_ok=True)  # it runs: what starts it next is the process manager


def stop_programs(layout: Layout, names: Collection[str], *, seconds: float) -> None:
    """Stop programs, all at the same time, and wait for their end (supervisord alone would stop one after another)."""
    for name in names:
        _ask(layout, "supervisor.stopProcess", name, False, pardon=Faults.NOT_RUNNING)
    deadline = time.monotonic() + seconds
    while any(state.pid for state in states(layout) if state.name in names) and time.monotonic() < deadline:
        time.sleep(0.1)


def _ask(layout: Layout, method: str, *arguments: Any, pardon: int | None = None) -> Any:
    """Call a method of supervisord.

    :param pardon: the fault that is no error, and gives None.
    :raises StackError: when it refuses, or does not answer.
    """
    transport = _transport(layout)
    proxy = xmlrpc.client.ServerProxy("http://supervisor", transport=transport)  # the transport knows the socket
    try:
        return getattr(proxy, method)(*arguments)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode == pardon:
            return None
        raise StackError(f"the process manager refused {method}{arguments}: {fault.faultString}") from fault
    except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
        raise StackError(
            f"the process manager does not answer at {layout.supervisor_socket} ({error}); run `make down up`"
        ) from error
    finally:
        transport.close()


def _transport(layout: Layout) -> SupervisorTransport:
    """Supervisor's own client of the socket, signed in with what the configuration says.

    :raises StackError: when the configuration cannot be read: it is gone, or of a version that had no password.
    """
    try:
        access = ClientOptions().read_config(str(layout.supervisor_config))
    except ValueError as error:
        raise StackError(f"{layout.supervisor_config}: {error}; run `make down up`") from error

    def connection() -> UnixStreamHTTPConnection:
        opened = UnixStreamHTTPConnection("localhost", timeout=_PATIENCE)
        opened.socketfile = str(layout.supervisor_socket)
        opened.connect()
        opened.sock.settimeout(_PATIENCE)  # its connect() leaves the timeout out
        return opened

    transport = SupervisorTransport(access.username, access.password, access.serverurl)
    transport._get_connection = connection  # the only place where a timeout can be given (supervisor 4.3.0)
    return transport
