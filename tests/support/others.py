"""Another user of this machine, for tests of what such a one can read, plant and take."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

OTHER = pwd.getpwnam("nobody")


@functools.cache
def _by_sudo() -> bool:
    return subprocess.run(["sudo", "-n", "-u", OTHER.pw_name, "true"], capture_output=True, check=False).returncode == 0


def another_user(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """What a shell script does as `nobody`; the test is skipped where this user cannot become another one."""
    command = ["sh", "-c", script, "sh", *map(str, arguments)]
    if os.geteuid() == 0:
        who = {"user": OTHER.pw_uid, "group": OTHER.pw_gid, "extra_groups": ()}
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **who)  # type: ignore[call-overload, no-any-return]
    if shutil.which("sudo") is None or not _by_sudo():
        pytest.skip("only root, or a user of sudo, can try what another user can do")
    command = ["sudo", "-n", "-u", OTHER.pw_name, *command]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


@contextmanager
def common_folder() -> Iterator[Path]:
    """A folder that every user may enter and nobody else may write, unlike those that pytest makes."""
    folder = Path(tempfile.mkdtemp(prefix="updraft-others-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
