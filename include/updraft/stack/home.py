"""The folder of everything that a deployment writes: ours, and closed to every other user of the machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from updraft.errors import StackError

UMASK = 0o077
"""What the stack, its programs and the command line leave out of every file's mode: all rights of others."""

CLOSED, PASSABLE = 0o700, 0o711
"""Modes of home. Passable, when root's PostgreSQL runs as another user with its data below home: that user may go through
to the one folder that is its own, and neither list home nor open anything else in it."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def claim(home: Path, *, ours: Collection[str], servants: Mapping[str, int] = MappingProxyType({})) -> None:
    """Make home, or see that it is ours; take every right on it and on what stands directly in it from others.

    :param ours: names of what the stack writes into home; of those, nothing may be another user's.
    :param servants: folders in home that belong to another user by our own will, and the user's id. Home is passable when
        there are some.
    :raises StackError: when home, or something in it that the stack would use, belongs to someone else.
    """
    with suppress(FileExistsError):
        home.mkdir(mode=CLOSED, parents=True)
    _need_ours(home, home.lstat())
    try:
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)  # what is looked at is what is closed
    except OSError as error:
        raise StackError(
            f"{home}, the home of this deployment, is no folder ({error.strerror}); set UPDRAFT_HOME"
        ) from error
    try:
        _need_ours(home, os.fstat(descriptor))
        os.fchmod(descriptor, PASSABLE if servants else CLOSED)
    finally:
        os.close(descriptor)
    for path in sorted(home.iterdir()):  # closed by now: nobody adds to it meanwhile
        status = path.lstat()
        if path.name in ours and status.st_uid not in (os.geteuid(), 0, servants.get(path.name)):
            raise StackError(
                f"{path} belongs to user {status.st_uid}, who could have put anything there; look at what it is, then "
                f"remove it, or `chown` it to user {os.geteuid()} if it is yours"
            )
        if status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode) and status.st_mode & _OTHERS:
            path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)


def _need_ours(home: Path, status: os.stat_result) -> None:
    link = stat.S_ISLNK(status.st_mode)
    trusted = (os.geteuid(), 0) if link else (os.geteuid(),)  # root may have put a link there for us
    if status.st_uid not in trusted:
        made = "is a link made by" if link else "belongs to"
        raise StackError(
            f"{home}, the home of this deployment, {made} user {status.st_uid}, who could read and replace what is kept "
            f"there; set UPDRAFT_HOME to a folder of your own, or start as the user it belongs to"
        )


def open_doors(home: Path, *, passable: bool) -> Iterator[str]:
    """What lets other users of the machine at what is kept in home, in words; nothing when it is closed."""
    if not home.exists():
        return
    mode = stat.S_IMODE(home.stat().st_mode)
    if mode & _OTHERS & ~(PASSABLE if passable else CLOSED):
        yield f"{home} is open to others (mode {mode:o})"
    if home.stat().st_uid != os.geteuid():
        yield f"{home} belongs to user {home.stat().st_uid}"
    for folder in home.resolve().parents:
        status = folder.stat()
        if status.st_uid not in (os.geteuid(), 0):
            yield f"{folder}, above home, belongs to user {status.st_uid}, who can put another folder in home's place"
        elif status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            yield f"{folder}, above home, can be written by everybody: another folder can be put in home's place"
