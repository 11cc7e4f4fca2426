"""A backup put back into an empty home: nothing is written before all of it was looked at, and a restore that was killed starts anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from updraft.errors import InputError, StackError
from updraft.files import sha256
from updraft.lake.places import anchors_of
from updraft.settings import Settings
from updraft.stack import control, dumps, home, lake_copy, postgres
from updraft.stack.layout import Layout, write_private
from updraft.stack.manifest import (
    ANCHORS,
    ARTIFACTS,
    DATABASES,
    KEYS,
    LAKE,
    LAKE_LIST,
    MIGRATED,
    NAME,
    Manifest,
    close_to_others,
    read_lines,
    walk,
)
from updraft.store import migrations
from updraft.store.store import Store

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restore has brought back."""

    manifest: Manifest
    decisions: dict[str, int]
    """How many decisions each project's chain has, verified."""
    lake_files: int
    """How many files the lake had at the time of the backup."""
    lake_missing: tuple[str, ...]
    lake_changed: tuple[str, ...]
    """Of those, the ones that are not where they were, and the ones whose content is another by now."""


def restore(settings: Settings, folder: Path, *, say: Say = lambda text: None) -> Restored:
    """Put a backup into the home of these settings, which has to be empty; the stack is down afterwards.

    Killed half way, it is run again with the same backup, and starts anew. `make up` refuses until then.

    :raises InputError: when the folder is no whole backup, or this is no place for it; nothing was written.
    :raises StackError: when PostgreSQL does not come up, or the chains are not what they were.
    :raises StoreError: when a newer Updraft made the backup.
    """
    manifest = Manifest.read(folder)
    migrations.need_known(manifest.schema)
    _need_server(manifest)
    _need_addresses(settings, manifest)
    manifest.verify(folder)
    say(f"the backup of {manifest.made_at} is whole: {len(manifest.files)} file(s)")
    layout = Layout.of(settings)
    _make_room(settings, layout, folder, say)
    for name, target in ((KEYS, layout.secrets.parent), (ARTIFACTS, layout.home / "mlflow")):
        _put(folder / name, target)
    for project in manifest.chains:
        kept = list(
            lake_copy.put_back(folder / ANCHORS / project, f"{settings.audit or settings.lake}/{anchors_of(project)}")
        )
        if kept:
            say(f"{project}: anchors that are there already stay: they tell what was decided after the backup")
    say("keys, anchors and MLflow's artefacts are back")
    if manifest.lake_copied:
        for _ in lake_copy.put_back(folder / LAKE, settings.lake):
            pass  # what is there is held against its hash below
    with control.database_alone(settings, say=say) as urls:
        for name in postgres.DATABASES:
            dumps.load(urls[name], folder / DATABASES / f"{name}.dump")
            say(f"the database {name} is back")
        counts = _verified_chains(urls["updraft"], manifest)
    if (folder / MIGRATED).exists():  # so that `make up` knows that the databases are of this version, where they are
        write_private(layout.migrated, (folder / MIGRATED).read_text())
    listed, now = read_lines(folder / LAKE_LIST), lake_copy.list_below(settings.lake)
    layout.restoring.unlink()
    return Restored(
        manifest=manifest,
        decisions=counts,
        lake_files=len(listed),
        lake_missing=tuple(sorted(set(listed) - set(now))),
        lake_changed=tuple(name for name in sorted(set(listed) & set(now)) if listed[name] != now[name]),
    )


def _need_server(manifest: Manifest) -> None:
    installed = postgres.major_version()
    if manifest.postgres > installed:
        raise InputError(
            f"the backup is of PostgreSQL {manifest.postgres}, and {installed} is installed, which cannot read it; install the "
            "Updraft that made it"
        )


def _need_addresses(settings: Settings, manifest: Manifest) -> None:
    """Rows of the store name files by their URL, and follow from an environment's policies: they mean something only where the same hold."""
    asked = {
        "UPDRAFT_LAKE": (settings.lake, manifest.lake),
        "UPDRAFT_RAW": (settings.raw, manifest.raw),
        "UPDRAFT_AUDIT": (settings.audit, manifest.audit),
        "UPDRAFT_ENVIRONMENT": (settings.environment or "", manifest.environment),
    }
    others = [f"{name}={backed_up!r}, not {here!r}" for name, (here, backed_up) in asked.items() if here != backed_up]
    if others:
        raise InputError(
            f"the backup is of a deployment with {'; '.join(others)}: set that (or UPDRAFT_HOME={manifest.home!r}), as what the "
            "store recorded is named by these addresses and follows from that environment; nothing was restored"
        )


def _make_room(settings: Settings, layout: Layout, folder: Path, say: Say) -> None:
    """See that home is empty, or clear what a restore of the same backup has left; from here on an interruption is noted."""
    note = {"backup": str(folder.absolute()), "manifest_sha256": sha256((folder / NAME).read_bytes())}
    places = [layout.home / name for name in control.WRITTEN if layout.home / name != layout.restoring]
    used = [str(path) for path in (*places, postgres.outside(layout)) if path.exists()]
    if layout.restoring.exists():
        if _noted(layout.restoring) != note["manifest_sha256"]:
            raise InputError(
                f"{layout.home}: another backup was being restored here ({layout.restoring} says which); run `updraft restore` with "
                "that one, or remove the folder"
            )
        say("an earlier restore was interrupted; starting anew")
        control.remove(
            settings, but=("lake", "datasets")
        )  # somebody may have brought them back: the list tells whether they are whole
    elif used:
        raise InputError(
            f"{layout.home} is not empty ({', '.join(used[:3])}): a backup is restored into an empty home alone. Move it away, "
            "or set UPDRAFT_HOME; nothing was restored"
        )
    home.claim(layout.home, ours=(*control.WRITTEN, "backups"), servants=postgres.servants(layout))
    write_private(layout.restoring, json.dumps(note, indent=1))


def _noted(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text())["manifest_sha256"])
    except (ValueError, KeyError, TypeError):
        return None


def _put(source: Path, target: Path) -> None:
    for path in walk(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    if target.exists():
        close_to_others(target)


def _verified_chains(url: str, manifest: Manifest) -> dict[str, int]:
    """Verify every chain in the store, and that it ends where the manifest says; the number of its decisions."""
    migrations.upgrade(url)
    store, counts = Store.open(url), {}
    try:
        for project, head in manifest.chains.items():
            counts[project] = store.verify_chain(project)
            chain = store.decisions(project)
            if not chain:
                raise StackError(
                    f"{project}: the restored store has no decisions, and the backup has; it cannot be used"
                )
            newest = chain[-1]
            if (newest.seq, newest.sha256) != (head.seq, head.sha256):
                raise StackError(
                    f"{project}: the restored chain ends at decision {newest.seq} ({newest.sha256[:12]}), the backup's at "
                    f"{head.seq} ({head.sha256[:12]}); the backup cannot be used"
                )
    finally:
        store.close()
    return counts
