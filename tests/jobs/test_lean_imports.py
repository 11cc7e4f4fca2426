"""What a training imports is there in the trainer's leanest image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import importlib.abc, importlib.metadata, re, sys

def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()

pinned = re.findall(r"^([A-Za-z0-9_.-]+)==", open("docker/trainer/requirements-cpu.txt").read(), re.MULTILINE)
image = set(map(plain, pinned))
packages = importlib.metadata.packages_distributions()

class NotInTheImage(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        top = name.split(".")[0]
        found_in = packages.get(top, [])
        if top != "updraft" and top not in sys.stdlib_module_names and found_in and not image & set(map(plain, found_in)):
            raise ModuleNotFoundError(f"{name} of {found_in} is not in the image", name=name)

sys.meta_path.insert(0, NotInTheImage())
import updraft.cli.main, updraft.jobs.run, updraft.jobs.group, updraft.training.xgb
import xgboost
"""


def test_the_command_line_of_a_training_starts_with_what_the_image_has() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
