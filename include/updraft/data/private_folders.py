"""Folders that the user of this process alone may enter, for what another user of the machine must neither read nor write."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from updraft.errors import IntegrityError, SettingsError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_ROOT = 0


def make_private(folder: Path, *, unread: tuple[str, ...] = ()) -> None:
    """Make a folder with mode 0700, or close one that is open; whatever modes are set below it, nobody else gets there.

    A folder that was open until now is closed only when nobody else could have left anything below it.

    :param unread: glob patterns, below the folder, of what the caller removes without reading it.
    :raises SettingsError: when it is a link, no folder, somebody else's, or cannot be made.
    :raises IntegrityError: when something below it is somebody else's, or was open to be written by anybody.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
    except OSError as error:
        raise SettingsError(f"{folder}: this folder cannot be made: {error.strerror}") from error
    if stat.S_ISLNK(state.st_mode):
        raise SettingsError(f"{folder} is a link, and leads who knows where; put the folder itself in its place")
    if state.st_uid != os.geteuid():
        raise SettingsError(
            f"{folder} belongs to user {state.st_uid}, and this process runs as user {os.geteuid()}: what is in it is not "
            "trusted. Look at what is there, then give it to this user (chown -R) or move it away, and run again"
        )
    if not state.st_mode & _OTHERS:
        return
    passed_over = {path for pattern in unread for path in folder.glob(pattern)}
    for path, why in _others_could_write(folder, passed_over):
        raise IntegrityError(
            f"{path} {why}, so that what is in {folder} may not be what was written there; nothing of it is used. Compare "
            f"it with a backup or move {folder} away, or, where nobody else was on this machine, close it "
            f"(chown -R and chmod -R go-w {folder}); then run again"
        )
    folder.chmod(0o700)


def remove_unread(path: Path) -> None:
    """Remove a file, a link or a folder without reading what is in it; what is not there is removed already.

    :raises SettingsError: when it cannot be removed, such as what is in a folder of another user.
    """
    try:
        if path.is_symlink() or path.is_file():
            path.unlink(missing_ok=True)
        elif path.exists():
            shutil.rmtree(path)
    except OSError as error:
        raise SettingsError(
            f"{path} is not to be read and cannot be removed: {error.strerror}: {error.filename}; remove it by hand"
        ) from error


def _others_could_write(folder: Path, passed_over: set[Path]) -> Iterator[tuple[Path, str]]:
    """What lies below a folder (and itself) and may be somebody else's doing. Links are not followed, and have no mode.

    A group may write where the user's umask lets it: whom a deployment puts into its group is its own choice.
    """
    for where, folders, names in os.walk(folder):
        here = Path(where)
        folders[:] = [name for name in folders if here / name not in passed_over]
        inside = [here / name for name in (*folders, *names)]
        for path in inside if here != folder else (folder, *inside):
            state = path.lstat()
            if state.st_uid not in (os.geteuid(), _ROOT):
                yield path, f"belongs to user {state.st_uid}"
            elif state.st_mode & stat.S_IWOTH and not stat.S_ISLNK(state.st_mode):
                yield path, "can be written by everybody"
