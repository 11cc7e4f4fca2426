"""The projects of a deployment, each read again only where a file of its folder has changed: a page asks for two hundred at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from updraft.spec.load import BrokenProject, load_project_or_problems, project_names
from updraft.spec.model import Project

Stamp = tuple[tuple[str, int, int], ...]


class Catalogue:
    """What was read of a folder of projects.

    :param root: the folder.
    :param environment: whose files override ``project.yaml``.
    """

    def __init__(self, root: Path, environment: str | None = None) -> None:
        self.root = root
        self.environment = environment
        self._read: dict[str, tuple[Stamp, Project | BrokenProject]] = {}

    def names(self) -> list[str]:
        """Names of the projects there are now."""
        return project_names(self.root)

    def project(self, name: str) -> Project | BrokenProject:
        """A project as it is on disk now."""
        folder = self.root / name
        stamp = tuple(sorted(_files(folder)))
        known = self._read.get(name)
        if known is None or known[0] != stamp:
            known = self._read[name] = (stamp, load_project_or_problems(folder, self.environment))
        return known[1]


def _files(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Name, time and size of what stands in a project's folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name != "__pycache__":
                    status = entry.stat()
                    yield entry.name, status.st_mtime_ns, status.st_size
    except OSError:  # it went meanwhile: reading it says so
        return
