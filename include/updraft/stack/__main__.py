"""``python -m updraft.stack up | down | status | logs | remove``: what the Makefile calls."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from updraft.errors import UpdraftError
from updraft.settings import Settings
from updraft.stack import control
from updraft.stack.home import UMASK
from updraft.stack.layout import PROGRAMS, Layout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 an error that was explained, 3 "not everything is healthy"."""
    parser = argparse.ArgumentParser(prog="python -m updraft.stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start everything and wait until it is healthy")
    commands.add_parser("down", help="stop everything")
    commands.add_parser("remove", help="stop everything and delete what it wrote")
    commands.add_parser("status", help="what runs where").add_argument("--json", action="store_true")
    logs = commands.add_parser("logs", help="follow the logs")
    logs.add_argument("program", nargs="*", choices=[*PROGRAMS, []], help="only of these programs")
    logs.add_argument("--lines", type=int, default=50)
    chosen = parser.parse_args(arguments)
    os.umask(UMASK)
    try:
        settings = Settings.from_env(os.environ)
        if chosen.command == "up":
            return _up(settings)
        if chosen.command == "status":
            return _status(settings, as_json=chosen.json)
        if chosen.command == "logs":
            return _logs(settings, chosen.program or list(PROGRAMS), chosen.lines)
        {"down": control.down, "remove": control.remove}[chosen.command](settings, say=_say)
    except UpdraftError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _up(settings: Settings) -> int:
    started = time.monotonic()
    folder = os.environ.get("UPDRAFT_DAGS")
    env = control.up(settings, dags=Path(folder) if folder else None, say=_say)
    _say(f"everything is up after {time.monotonic() - started:.0f} s")
    _say(f"  Airflow  {env['UPDRAFT_AIRFLOW']}   (user admin, password in {env['UPDRAFT_AIRFLOW_PASSWORDS']})")
    _say(f"  MLflow   {env['UPDRAFT_MLFLOW']}   (the same user and password)")
    return 0


def _status(settings: Settings, *, as_json: bool) -> int:
    rows = control.status(settings)
    if as_json:
        _say(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        _say(f"{'program':<14} {'state':<9} {'process':>8}  {'healthy':<8} where")
        for row in rows:
            health = "yes" if row.healthy else "no"
            _say(
                f"{row.program:<14} {row.state:<9} {row.pid or '-':>8}  {health:<8} {row.address} {row.detail}".rstrip()
            )
    return 0 if all(row.healthy for row in rows) else 3


def _logs(settings: Settings, programs: Sequence[str], lines: int) -> int:
    folder = Layout.of(settings).logs
    paths = [str(path) for name in programs if (path := folder / f"{name}.log").exists()]
    if not paths:
        sys.stderr.write(f"no logs in {folder}; run `make up`\n")
        return 1
    try:
        return subprocess.run(["tail", f"--lines={lines}", "--follow=name", "--retry", *paths], check=False).returncode
    except KeyboardInterrupt:
        return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
