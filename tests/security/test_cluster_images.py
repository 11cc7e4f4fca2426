"""A project's folder names no image that the deployment does not allow: it would get the trainings' key to the object store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def validate(tmp_path: Path, image: str) -> subprocess.CompletedProcess[str]:
    """`updraft validate` of the reference project with an image of its own."""
    folder = shutil.copytree(ROOT / "include" / "projects" / "flight_delays", tmp_path / "projects" / "flight_delays")
    text = (folder / "project.yaml").read_text()
    assert "compute: {backend: local}" in text
    wishes = f'compute: {{backend: kubernetes, image: "{image}"}}'
    (folder / "project.yaml").write_text(text.replace("compute: {backend: local}", wishes))
    deployment = tmp_path / "deployment.yaml"
    deployment.write_text('kubernetes: {images: ["registry.example.com/team/trainer:*"]}\n')
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "include", "plugins")),
        "UPDRAFT_HOME": str(tmp_path / "home"),
        "UPDRAFT_PROJECTS": str(tmp_path / "projects"),
        "UPDRAFT_DEPLOYMENT": str(deployment),
    }
    command = [sys.executable, "-m", "updraft.cli", "validate", "flight_delays"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("image", ["evil.example.com/trainer:1", "registry.example.com/team/trainer/evil:1"])
def test_an_image_that_no_pattern_allows_is_refused_with_the_patterns(tmp_path, image):
    done = validate(tmp_path, image)
    assert done.returncode == 2, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert f"training.compute.image = '{image}': this deployment runs no such image" in said
    assert "allowed: registry.example.com/team/trainer:*" in said


def test_an_image_that_a_pattern_allows_is_sound(tmp_path):
    done = validate(tmp_path, "registry.example.com/team/trainer:v7")
    assert done.returncode == 0, done.stdout + done.stderr
