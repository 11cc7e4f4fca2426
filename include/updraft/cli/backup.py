"""``updraft backup`` and ``updraft restore``: a deployment carried over the loss of everything it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from updraft.cli.edge import UNHEALTHY, console, errors, explained, settings, write_json

AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]
_SHOWN = 5


def backup(
    to: Annotated[
        Path | None, typer.Option(help="folder to write, not there yet; <home>/backups/<time> by default")
    ] = None,
    lake: Annotated[
        bool, typer.Option("--lake", help="copy the lake's files too; they are listed with hashes either way")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Back up the running embedded stack: its databases, MLflow's artefacts, keys, anchors, and the list of the lake.

    The folder holds this deployment's private keys: keep it as closed as home itself.

    Example: updraft backup --to /mnt/backups/updraft-monday --lake
    """
    from updraft.stack.backup import back_up

    with explained():
        made = back_up(settings(), to, with_lake=lake, say=_tell)
    manifest = made.manifest
    if as_json:
        write_json(
            {
                "folder": str(made.folder),
                "files": len(manifest.files),
                "bytes": sum(entry.size for entry in manifest.files.values()),
                "decisions": {project: head.seq for project, head in manifest.chains.items()},
                "lake_copied": manifest.lake_copied,
            }
        )
        return
    size = sum(entry.size for entry in manifest.files.values()) / 1024**2
    console.print(f"{made.folder}: {len(manifest.files)} files, {size:.1f} MiB", markup=False, soft_wrap=True)
    console.print("It holds private keys: keep it closed, and on another disk than this deployment's.")


def restore(
    folder: Annotated[Path, typer.Argument(help="a folder that updraft backup has written")], as_json: AsJson = False
) -> None:
    """Put a backup into an empty home (UPDRAFT_HOME); `make up` starts it then. Ends with 3 when the lake is not what it was.

    Nothing is written before every file of the backup was held against its hash. Interrupted, run it again: it starts anew.

    Example: updraft restore /mnt/backups/updraft-monday
    """
    from updraft.stack.restore import restore as put_back

    with explained():
        restored = put_back(settings(), folder, say=_tell)
    off = [
        *(f"{name} is missing" for name in restored.lake_missing),
        *(f"{name} was changed" for name in restored.lake_changed),
    ]
    if as_json:
        write_json(
            {
                "home": str(settings().home),
                "made_at": restored.manifest.made_at,
                "decisions": restored.decisions,
                "lake_files": restored.lake_files,
                "lake_missing": restored.lake_missing,
                "lake_changed": restored.lake_changed,
            }
        )
    else:
        for project, count in restored.decisions.items():
            console.print(f"{project}: {count} decisions, whole", markup=False)
        kept = restored.lake_files - len(off)
        console.print(f"the lake: {kept} of {restored.lake_files} files are as they were", markup=False)
        for line in off[:_SHOWN]:
            console.print(f"  {line}", markup=False, soft_wrap=True)
        if len(off) > _SHOWN:
            console.print(f"  and {len(off) - _SHOWN} more")
        console.print("start it: make up")
    if off:
        raise typer.Exit(UNHEALTHY)


def _tell(text: str) -> None:
    """Progress, on standard error: --json keeps standard output for itself."""
    errors.print(text, markup=False, soft_wrap=True)
