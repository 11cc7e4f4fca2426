"""The key of a project's pseudonyms is rotated by a person, and the one before is destroyed once nothing needs it.

A partition keeps the key that it was published with. So labels that mature after the rotation find their rows, whichever key these have, and
nothing that was published is written anew. As long as both keys are kept, each partition that comes also keeps which pseudonym was which, so
that tables of both keys can be joined. Then the old key and these pairs are destroyed: what it made can neither be made again nor be tried out.

The new key is made first, and the decision is what counts: killed before it, nothing has changed, and the same command takes the key that is
there. The destruction is decided first, and whatever of it is not done is done by the next maintenance.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from updraft import files
from updraft.data.columns import CLUSTER, EVENT_TIME, ROW
from updraft.data.key_ring import Rotation, is_copied, keep_derived_keys, key_file, next_key
from updraft.data.partitions import keys_after, partition, tick_of
from updraft.data.privacy import ID_SUFFIX, KEY_FILE, key_id
from updraft.data.views import hidden_columns
from updraft.errors import InputError, SettingsError, UpdraftError
from updraft.lock import exclusive
from updraft.loop.context import Loop
from updraft.loop.forgotten import FORGET
from updraft.loop.rotated import DESTROY, ROTATE, keys_of, rotations
from updraft.loop.settled import KINDS
from updraft.spec.features import features_of_pseudonyms
from updraft.spec.load import load_project, project_names

log = logging.getLogger(__name__)

_LOOKED_AT = 2_000
"""Rows on which features are tried with other pseudonyms."""


@dataclass(frozen=True)
class Planned:
    """A rotation of a project's key."""

    project: str
    since: str
    """Key of the first partition with the new key."""
    before: str
    """Id of the key that makes the pseudonyms of the partitions before."""
    both_for: timedelta
    """How long, from that partition on, both keys are kept."""
    features: tuple[str, ...]
    """Features that change when pseudonyms do."""
    after: str = ""
    """Id of the new key; empty before it is made."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"both_for": int(self.both_for.total_seconds()), "features": list(self.features)}


def plan_rotation(loop: Loop) -> Planned:
    """What a rotation would be; nothing is written.

    :raises InputError: when there is nothing to rotate: no private column, or no partition.
    """
    if not loop.spec.data.private:
        raise InputError(f"{loop.name}: no column is private (data.private), so no key makes pseudonyms of it")
    newest = loop.store.newest_partition(loop.name, state=None)
    if newest is None:
        raise InputError(f"{loop.name}: no partition is ingested yet, so no pseudonym was made")
    since = next(keys_after(loop.spec, tick_of(newest)), None)
    if since is None:
        raise InputError(
            f"{loop.name}: no partition comes after {newest} (data.end), so a new key would make no pseudonym"
        )
    return Planned(
        loop.name,
        since,
        keys_of(loop).newest.key_id,
        _both_for(loop, loop.spec.privacy.rotation.both_for),
        _features(loop),
    )


def rotate(loop: Loop, *, by: str, reason: str, leaked: bool = False, features_change: bool = False) -> Planned:
    """Make the pseudonyms of the partitions that come with a new key.

    :param leaked: whether somebody else may have the old key: then nothing is kept that leads from old pseudonyms to new ones.
    :param features_change: whether it is meant that features change their values.
    :raises InputError: when features depend on pseudonyms and that is not meant, or there is nothing to rotate.
    """
    with exclusive(loop.lake.at("quarantine")):  # who forgets persons or settles rows reads the keys too
        planned = plan_rotation(loop)
        if planned.features and not features_change:
            raise InputError(
                f"{loop.name}: {', '.join(planned.features)}: these features change when pseudonyms do, so models that learnt from them meet "
                "values that they never saw. Take them out of features.py (a count or a rate of a person, made before publication, stays), "
                "or add --features-change and train anew at once"
            )
        made = rotations(loop)
        number = len(made) + 1
        after = key_id(next_key(loop.name, loop.settings, number))
        if after in {planned.before, *(rotation.before for rotation in made)}:
            raise SettingsError(
                f"{key_file(loop.name, loop.settings, number)} is key {after}, which made pseudonyms before; remove it"
            )
        body = {
            "number": number,
            "since": planned.since,
            "before": planned.before,
            "after": after,
            "pairs": not leaked,
            "both_for": int(planned.both_for.total_seconds()),
            "features": list(planned.features),
            "by": by,
            "reason": reason,
        }
        newest = loop.store.newest_partition(loop.name, state=None) or planned.since
        loop.store.decide(loop.name, key=newest, kind=ROTATE, subject=str(number), body=body)
    return Planned(planned.project, planned.since, planned.before, planned.both_for, planned.features, after)


def destroy_old_keys(loop: Loop) -> list[str]:
    """Destroy the keys before rotations whose time is over, and what leads from their pseudonyms to the new ones; what was done, in words.

    The time runs by partitions, not by the clock: of a project that stands still nothing is destroyed.

    :raises SettingsError: when a key cannot be removed.
    """
    told = []
    newest = loop.store.newest_partition(loop.name, state=None)
    for decision in loop.store.decisions(loop.name, kinds=(ROTATE,)) if newest else ():
        begun = partition(loop.spec, decision.body["since"]).start
        until = begun + _both_for(loop, timedelta(seconds=int(decision.body["both_for"])))
        if partition(loop.spec, str(newest)).start < until:
            continue
        body = {
            **{name: decision.body[name] for name in ("number", "before", "after")},
            "by": "maintenance",
            "reason": f"both keys were kept for {_both_for(loop, timedelta(seconds=int(decision.body['both_for'])))}",
        }
        loop.store.decide(loop.name, key=str(newest), kind=DESTROY, subject=decision.subject, body=body)
    for rotation in rotations(loop):
        if rotation.destroyed:
            told += _destroy(loop, rotation)
    return told


def _both_for(loop: Loop, stated: timedelta) -> timedelta:
    """Until the last label of a row with the old key has matured, at least."""
    return max(stated, loop.spec.data.label.matures_after)


def _features(loop: Loop) -> tuple[str, ...]:
    newest = loop.store.newest_partition(loop.name)
    if newest is None:
        return ()
    row = loop.published(newest)
    rows = files.read_parquet(str(row.url), row.sha256).drop(columns=[ROW, EVENT_TIME, CLUSTER]).head(_LOOKED_AT)
    return features_of_pseudonyms(loop.project, loop.features, rows, hidden_columns(loop.spec.data))


def _destroy(loop: Loop, rotation: Rotation) -> list[str]:
    """Remove what there is of the key before a rotation."""
    aside = loop.settings.of_backtests()
    files.remove(loop.lake.pseudonym_pairs_of(rotation.before))
    if loop.settings.pseudonym_connection or is_copied(loop.settings):
        return []  # who keeps the secret, or what is mounted, removes it: docs/data.md
    if rotation.number == 1:
        path = loop.settings.keys / KEY_FILE
        if not path.exists() or key_id(path.read_bytes()) != rotation.before:
            return []
        if used_by := _others_with_the_first_key(loop):
            log.info(
                "%s: the deployment's pseudonym key stays, as it makes pseudonyms of %s", loop.name, ", ".join(used_by)
            )
            return []
        if kept_for := _with_earlier_marks(loop):
            log.warning(
                "%s: the deployment's pseudonym key stays: it makes the marks by which an earlier Updraft knew persons and rows of %s",
                loop.name,
                ", ".join(kept_for),
            )
            return []
        keep_derived_keys(loop.settings)
        files.remove(aside.lake)  # a backtest makes its pseudonyms with the deployment's key
        if aside.raw:
            files.remove(aside.raw)
        doomed = [path.with_name(f"{KEY_FILE}{ID_SUFFIX}"), path]  # without its id a key is not missed
    else:
        doomed = [key_file(loop.name, loop.settings, rotation.number - 1)]
        if not doomed[0].exists():
            return []
    for file in doomed:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise SettingsError(
                f"{file} is to be destroyed and cannot be removed: {error.strerror}; remove it where it is mounted from"
            ) from error
    return [f"pseudonym key {rotation.before} is destroyed ({doomed[-1]}); remove it from backups and mounts too"]


def _with_earlier_marks(loop: Loop) -> list[str]:
    """Projects with decisions about persons or rows whose marks only the deployment's key can make: they would be known no more."""
    kinds = (FORGET, *KINDS.values())
    names = sorted({loop.name, *project_names(loop.settings.projects)})
    return [
        name
        for name in names
        if any("marks_by" not in decision.body for decision in loop.store.decisions(name, kinds=kinds))
    ]


def _others_with_the_first_key(loop: Loop) -> list[str]:
    """Other projects whose pseudonyms the deployment's key makes or made, until they have it destroyed too."""
    used_by = []
    for folder in sorted(path.parent for path in loop.settings.projects.glob("*/project.yaml")):
        if folder.name == loop.project.folder.name:
            continue
        try:
            project = load_project(folder, loop.project.environment)
        except UpdraftError:
            used_by.append(folder.name)  # who knows
            continue
        destroyed = loop.store.decision(project.name, DESTROY, "1")
        if project.spec.data.private and destroyed is None:
            used_by.append(project.name)
    return used_by
