"""``updraft keys``: keys of this deployment, replaced on purpose."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from updraft.alerts.alert import cleaned
from updraft.cli.edge import (
    FAILED,
    console,
    errors,
    explained,
    find_project,
    loop_of,
    open_store,
    settings,
    who,
    write_json,
)
from updraft.errors import InputError
from updraft.files import sha256

app = typer.Typer(help="Keys of this deployment.", no_args_is_help=True)


class Key(StrEnum):
    """Keys that can be replaced."""

    SIGNING = "signing"
    AUDIT = "audit"
    PSEUDONYMS = "pseudonyms"


@app.command("rotate")
def rotate_key(
    key: Annotated[
        Key,
        typer.Argument(
            help="which key: signing (of models), audit (of the anchors of decisions) or pseudonyms (of one project)"
        ),
    ],
    project: Annotated[str | None, typer.Argument(help="of pseudonyms: name of the project")] = None,
    reason: Annotated[str, typer.Option(help="of pseudonyms: why, for the record")] = "",
    leaked: Annotated[
        bool,
        typer.Option(
            "--leaked",
            help="somebody else may have the old key: keep nothing that leads from old pseudonyms to new ones",
        ),
    ] = False,
    features_change: Annotated[
        bool, typer.Option("--features-change", help="go on although features change their values, and train anew")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="rotate pseudonyms without asking")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Replace a key on purpose. What comes is signed with the new one; what was verifies by the old public half, which is kept.

    The old private half is destroyed. After a leak, remove the old public half too, once a newly signed version serves.

    Of pseudonyms: partitions from the next one on have pseudonyms of a new key; those before keep theirs, and labels that mature later find
    their rows. Both keys are kept for privacy.rotation.both_for, then maintenance destroys the old one. It is a decision of the chain.

    Example: updraft keys rotate pseudonyms churn --reason "once a year"
    """
    if key is Key.PSEUDONYMS:
        _rotate_pseudonyms(project, reason, leaked=leaked, features_change=features_change, yes=yes, as_json=as_json)
        return
    with explained():
        if project is not None or reason or leaked or features_change:
            raise InputError(
                f"the key {key.value} is one of the deployment: it takes no project, and no options of pseudonyms"
            )
    from updraft.registry.signing import key_id, retired_keys, rotate
    from updraft.store.anchors import AuditKey

    with explained():
        keys = settings().keys
        if key is Key.AUDIT:
            public = AuditKey(keys).rotate()
            name, trusted = sha256(public.read_bytes()), sorted(map(str, keys.glob("audit.*.pub.pem")))
        else:
            public = rotate(keys)
            name, trusted = key_id(public), [str(path) for path in retired_keys(keys)]
    if as_json:
        write_json({"key": key.value, "id": name, "public": str(public), "trusted": trusted})
        return
    signs = "decisions are attested" if key is Key.AUDIT else "models are signed"
    console.print(f"{signs} with key {name} from now on; its public half is {public}", soft_wrap=True)
    for path in trusted:
        console.print(f"trusted for what was signed before: {path}", soft_wrap=True)


def _rotate_pseudonyms(
    name: str | None, reason: str, *, leaked: bool, features_change: bool, yes: bool, as_json: bool
) -> None:
    from updraft.loop.rotating import plan_rotation, rotate

    with explained(), open_store() as store:
        if name is None or not cleaned(reason).strip():
            raise InputError('say whose pseudonyms, and why: updraft keys rotate pseudonyms PROJECT --reason "WHY"')
        loop = loop_of(find_project(name), store)
        if not yes:
            planned = plan_rotation(loop)
            question = (
                f"{planned.project}: from partition {planned.since} on, every private value has another pseudonym; key {planned.before} is "
                f"destroyed {planned.both_for.days} days later. Go on?"
            )
            if not sys.stdin.isatty():
                raise InputError(f"{question} There is no terminal to ask on; add --yes where that is meant")
            if not typer.confirm(question, err=True):
                errors.print("nothing was changed")
                raise typer.Exit(FAILED)
        done = rotate(loop, by=who(), reason=cleaned(reason), leaked=leaked, features_change=features_change)
    if as_json:
        write_json(done.as_dict())
        return
    console.print(
        f"{done.project}: pseudonyms are made with key {done.after} from partition {done.since} on; back up {settings().keys}",
        soft_wrap=True,
    )
    console.print(
        f"key {done.before} is kept for the partitions before, for {done.both_for.days} days of partitions; then maintenance destroys it",
        soft_wrap=True,
    )
    if done.features:
        console.print(
            f"these features change their values; train anew: {', '.join(done.features)}", markup=False, soft_wrap=True
        )
