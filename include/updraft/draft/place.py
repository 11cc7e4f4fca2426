"""What ``--data`` names: a file, a folder, a pattern, or a URL, as the URL of a source."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from updraft.draft.words import slug
from updraft.errors import InputError

_KINDS = (".csv", ".csv.gz", ".csv.zip", ".tsv", ".txt", ".parquet", ".pq")
_DATABASES = (
    "postgresql",
    "postgres",
    "mysql",
    "mssql",
    "oracle",
    "snowflake",
    "bigquery",
    "redshift",
    "sqlite",
    "duckdb",
    "jdbc",
)


def url_of(data: str) -> str:
    """The URL of a source: absolute, as another process starts in another folder.

    :raises InputError: when it is nothing that is read, with what to do.
    """
    scheme, parted, _ = data.partition("://")
    if parted and scheme.split("+")[0].lower() in _DATABASES:
        return _refuse(
            f"--data {scheme}://…: Updraft reads files, and no database yet; write what is to be learnt from to one, such as with "
            "\\copy (SELECT …) TO 'churn.csv' WITH (FORMAT csv, HEADER), and give that"
        )
    if "{" in data:
        return _refuse(
            f"--data {data}: `updraft init` reads all files at once; write a star in place of what stands in braces"
        )
    if parted and scheme != "file":
        if data.endswith("/"):
            return _refuse(f"--data {data} is a folder; say which of its files, such as {data}*.parquet")
        return data
    path = Path(data.removeprefix("file://")).expanduser().absolute()
    if path.is_dir():
        path = path / f"*{_kind_of_folder(path)}"
    elif "*" not in path.name and not path.is_file():
        return _refuse(f"--data {data}: there is no such file or folder ({path})")
    if "*" in str(path.parent):
        return _refuse(f"--data {data} has a star in the name of a folder; one in the name of a file is read")
    return f"file://{path}"


def source_name(url: str) -> str:
    """A name for the source: that of the file, or, of several, of their folder."""
    path = PurePosixPath(url.partition("://")[2])
    text = path.parent.name if "*" in path.name else path.name.partition(".")[0]
    return slug(text, "rows")


def _kind_of_folder(folder: Path) -> str:
    files = [path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    kinds = {kind: [file for file in files if file.lower().endswith(kind)] for kind in _KINDS}
    present = [kind for kind, names in kinds.items() if names]
    if not present:
        raise InputError(f"--data {folder} has no file that is read: {', '.join(_KINDS)}")
    if len(present) > 1:
        raise InputError(
            f"--data {folder} has files of several kinds ({', '.join(present)}); say which, such as '{folder}/*{present[0]}'"
        )
    return present[0]


def _refuse(message: str) -> str:
    raise InputError(message)
