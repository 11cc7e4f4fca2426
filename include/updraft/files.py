"""Files of the lake, by URL through fsspec: written aside, then put in place whole."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from updraft.errors import IntegrityError, SettingsError

if TYPE_CHECKING:
    import pandas as pd


def is_local(url: str) -> bool:
    """Whether the URL is a file of this machine."""
    return url.startswith("file://") or "://" not in url


def local_path(url: str) -> Path:
    """The path of a ``file://`` URL (or of a plain path)."""
    return Path(url.removeprefix("file://"))


def write_bytes(url: str, content: bytes) -> None:
    """Write a whole object: a reader sees the old content or the new, never a part."""
    if is_local(url):
        path = local_path(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError as error:  # the disk is full: what is written aside would keep it so
            with suppress(OSError):
                aside.unlink()
            raise OSError(error.errno, error.strerror, str(path)) from error
        return
    with _explained(url, "writing"):
        there, where = filesystem(url)
        try:
            there.pipe_file(where, content)  # an object store shows an object only when it is whole
        except FileNotFoundError as error:
            raise SettingsError(f"{url}: there is no such bucket ({error}); make it, or set UPDRAFT_LAKE") from error


def append_line(url: str, line: str) -> None:
    """Append a line to a file of this machine, as a whole: a process that is killed leaves all of it or none."""
    path = local_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        before = os.fstat(descriptor).st_size
        torn = before > 0 and os.pread(descriptor, 1, before - 1) != b"\n"  # the machine went down in a line
        content = (b"\n" if torn else b"") + f"{line}\n".encode()
        if os.write(descriptor, content) != len(content):  # the disk is full
            os.ftruncate(descriptor, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_once(path: Path, content: bytes, mode: int) -> bool:
    """Make a file of this machine, whole, unless it exists: of two processes the first wins. Whether this call made it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, path)  # fails when another process was first, where a rename would replace its file
    except FileExistsError:
        return False
    finally:
        aside.unlink()
    return True


def replace_whole(path: Path, content: bytes, mode: int) -> None:
    """Put a file of this machine in place whole, whatever was there."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    create_once(aside, content, mode)
    aside.replace(path)


def names_below(url: str) -> list[str]:
    """Names of the files right below a URL, in order; none where there is no such folder."""
    with _explained(url, "listing it"):
        there, path = filesystem(url)
        try:
            entries = there.ls(path, detail=False)
        except FileNotFoundError:
            return []
    return sorted(str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries)


def read_all_below(url: str) -> list[bytes]:
    """The content of every file right below a URL, in the order of their names; read side by side where the store allows it."""
    names = names_below(url)
    with _explained(url, "reading"):
        there, path = filesystem(url)
        contents = there.cat([f"{path}/{name}" for name in names]) if names else {}
    by_name = {str(place).rsplit("/", 1)[-1]: bytes(content) for place, content in contents.items()}
    return [by_name[name] for name in names if name in by_name]


def read_verified(url: str, sha256_of_content: str) -> bytes:
    """Read an object that must be what was recorded of it.

    :raises IntegrityError: when it is not.
    :raises FileNotFoundError: when there is none.
    """
    content = read_bytes(url)
    if (actual := sha256(content)) != sha256_of_content:
        raise IntegrityError(
            f"{url} has SHA-256 {actual}, recorded is {sha256_of_content}; it was changed after it was written"
        )
    return content


def read_bytes(url: str) -> bytes:
    """Read a whole object.

    :raises FileNotFoundError: when there is none.
    """
    if is_local(url):
        return local_path(url).read_bytes()
    with _explained(url, "reading"):
        there, path = filesystem(url)
        return bytes(there.cat_file(path))


def exists(url: str) -> bool:
    """Whether an object is there."""
    if is_local(url):
        return local_path(url).exists()
    with _explained(url, "looking for it"):
        there, path = filesystem(url)
        return bool(there.exists(path))


def note_use(url: str) -> None:
    """Note that a local file was used now, in its time of access (reading alone may not); its time of change stays."""
    if is_local(url):
        path = local_path(url)
        with suppress(PermissionError):  # another user's; it is as old as its last reading
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def remove(url: str) -> None:
    """Remove an object, or everything below a URL; what is not there is removed already."""
    with _explained(url, "removing"):
        there, path = filesystem(url)
        with suppress(FileNotFoundError):
            there.rm(path, recursive=True)


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it. It keeps no listings: other processes write there too."""
    import fsspec

    for name in ("botocore", "aiobotocore"):  # they tell of each client where its credentials came from
        logging.getLogger(name).setLevel(logging.WARNING)
    options = {} if is_local(url) or "::" in url else {"use_listings_cache": False}
    there, path = fsspec.core.url_to_fs(url, **options)
    return there, str(path)


@contextmanager
def _explained(url: str, doing: str) -> Iterator[None]:
    """An object store's refusals as errors that name the URL; a store that is away as ``ConnectionError``, worth a retry."""
    try:
        yield
    except PermissionError as error:
        raise SettingsError(
            f"{url}: {doing} was refused ({error}); the credentials need GetObject, PutObject, DeleteObject and ListBucket there"
        ) from error
    except Exception as error:
        if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
            raise SettingsError(
                f"{url}: {doing} needs credentials ({error}); set AWS_ACCESS_KEY_ID and the like"
            ) from error
        if type(error).__module__.split(".")[0] in ("botocore", "aiobotocore", "aiohttp"):
            raise ConnectionError(f"{url}: {doing} failed: {error}") from error
        raise


def write_json(url: str, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values are equal bytes."""
    write_bytes(url, json.dumps(value, sort_keys=True, indent=1, default=str).encode())


def read_json(url: str) -> Any:
    """Read JSON."""
    return json.loads(read_bytes(url))


def write_parquet(url: str, frame: pd.DataFrame) -> str:
    """Write a frame as Parquet and return the SHA-256 of its bytes."""
    content = _parquet(frame)
    write_bytes(url, content)
    return sha256(content)


def write_parquet_named_by_content(stem: str, frame: pd.DataFrame) -> tuple[str, str]:
    """Write a frame as ``<stem>-<first digits of its hash>.parquet``, so that other content never takes its place; URL and SHA-256."""
    content = _parquet(frame)
    digest = sha256(content)
    url = f"{stem}-{digest[:8]}.parquet"
    write_bytes(url, content)
    return url, digest


def _parquet(frame: pd.DataFrame) -> bytes:
    import io

    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def read_parquet(url: str, sha256_of_content: str | None = None, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet object into a frame.

    :param sha256_of_content: as it was recorded; None reads it as it is, which is right for a file that this process has just made.
    :raises IntegrityError: when the object is not what was recorded.
    """
    import io

    import pandas as pd

    if sha256_of_content is not None:
        return pd.read_parquet(io.BytesIO(read_verified(url, sha256_of_content)), columns=columns)
    return pd.read_parquet(local_path(url) if is_local(url) else io.BytesIO(read_bytes(url)), columns=columns)


def sha256(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def canonical_hash(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no spaces)."""
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode())


@contextmanager
def fetched(url: str) -> Iterator[Path]:
    """A local path to the object, for libraries that only read paths; a copy is removed afterwards."""
    if is_local(url):
        yield local_path(url)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / url.rsplit("/", 1)[-1]
        path.write_bytes(read_bytes(url))
        yield path
