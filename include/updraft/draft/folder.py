"""A project's folder, put in place whole: written aside under a hidden name, which nothing takes for a project, then renamed."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from updraft.errors import InputError


def need_no_folder(folder: Path) -> None:
    """Refuse a folder that is there: what a person wrote is never written over.

    :raises InputError: when it is, or when something else has its name.
    """
    if folder.exists() or folder.is_symlink():
        raise InputError(
            f"{folder} is there already, and nothing of it is written over; choose another name, or move it away"
        )


def put(folder: Path, content: Mapping[str, str]) -> None:
    """Write a project's folder: all of it is there, or nothing.

    :raises InputError: when it is there already, or cannot be written.
    """
    need_no_folder(folder)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        for file, text in content.items():
            (aside / file).write_text(text, encoding="utf-8")
        need_no_folder(folder)
        aside.rename(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
