"""The stack as root and as an ordinary user: the other tests run as whoever runs them, this one as the other."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = pwd.getpwnam("nobody")
# A user namespace: without any of root's rights, and with an interpreter that may stand in root's closed home.
BECOME = ["unshare", "--user", f"--map-user={NOBODY.pw_uid}", f"--map-group={NOBODY.pw_gid}"]


def possible() -> bool:
    try:
        return subprocess.run([*BECOME, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.getuid() != 0, reason="the other tests of the stack run as an ordinary user already"),
    pytest.mark.skipif(not possible(), reason="no user namespaces here to become an ordinary user in"),
]


# In one namespace: a process of another one may not look at the ports of these.
SCRIPT = """
stack="$0 -m updraft.stack"
id -u && $stack up && $stack status --json
code=$?
$stack down || exit 1
exit $code
"""


def test_an_ordinary_user_starts_and_stops_the_stack(tmp_path: Path) -> None:
    env = {**os.environ, "HOME": str(tmp_path), "UPDRAFT_HOME": str(tmp_path / "var")}
    command = [*BECOME, "sh", "-c", SCRIPT, sys.executable]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == str(NOBODY.pw_uid)
