"""The pages of the lake: which files of a project are shown to people, and how one is read without leaving its folder."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from updraft import files
from updraft.lake.places import PAGES

MEDIA = {".html": "text/html; charset=utf-8", ".png": "image/png", ".json": "application/json"}
_STEP = re.compile(r"(?!\.)[\w.-]+")
"""A name that the lake gives to a file or a folder. What is hidden is half written."""
_LONGEST_STEP = 255
"""Bytes of a name, as most file systems take them."""
_LONGEST = 1000
"""Bytes of an address: an object store takes 1,024, with the lake's own part of it."""


@dataclass(frozen=True)
class Page:
    """A file of the lake, as it is shown."""

    content: bytes
    media: str
    """Its media type."""
    draws_itself: bool
    """Whether it is a report, whose picture is drawn by scripts in it."""


def read_page(lake: str, project: str, part: str, path: str) -> Page:
    """Read one page.

    :param lake: URL of the lake.
    :param project: name of a project that is there.
    :param path: the rest of the address, as a browser sent it.
    :raises FileNotFoundError: when there is no such page, or the address is none.
    """
    media = MEDIA.get(os.path.splitext(path)[1])
    if part not in PAGES or media is None:
        raise FileNotFoundError(f"{part}/{path}: no page")
    return Page(read_plain(lake, (project, part, *path.split("/"))), media, draws_itself=part == "reports")


def is_step(name: str) -> bool:
    """Whether the lake gives such a name to a file or a folder."""
    return _STEP.fullmatch(name) is not None and len(name.encode()) <= _LONGEST_STEP


def read_plain(lake: str, steps: Sequence[str]) -> bytes:
    """Read a file below the lake by the names that lead to it. No symbolic link is followed, not even half way.

    :raises FileNotFoundError: when it is no plain file, or a name on the way is none that the lake gives.
    """
    address = "/".join(steps)
    if not all(map(is_step, steps)) or len(address.encode()) > _LONGEST:
        raise FileNotFoundError(f"{address!r}: no address in the lake")
    if files.is_local(lake):
        return _read_local(lake, steps)
    try:
        return files.read_bytes(f"{lake}/{address}")
    except (IsADirectoryError, NotADirectoryError, ValueError) as error:  # each kind of store refuses in its own way
        raise FileNotFoundError(f"{address!r}: no file in the lake") from error


def _read_local(lake: str, steps: Sequence[str]) -> bytes:
    """Step by step from the open folder before: what is swapped for a link meanwhile is not followed either."""
    *folders, name = steps
    folder_only = os.O_RDONLY | os.O_DIRECTORY
    with ExitStack() as opened:

        def kept(descriptor: int) -> int:
            opened.callback(os.close, descriptor)
            return descriptor

        try:
            here = kept(os.open(files.local_path(lake), folder_only))
            for folder in folders:
                here = kept(os.open(folder, folder_only | os.O_NOFOLLOW, dir_fd=here))
            # Without blocking: opening a named pipe would wait for its writer.
            file = kept(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here))
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise IsADirectoryError(errno.EISDIR, "a folder or a device")
            with os.fdopen(os.dup(file), "rb") as content:
                return content.read()
        except OSError as error:
            raise FileNotFoundError(f"{'/'.join(steps)}: no plain file: {error.strerror}") from error
