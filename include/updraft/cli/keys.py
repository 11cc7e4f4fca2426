"""``updraft keys``: keys of this deployment, replaced on purpose."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from updraft.cli.edge import console, explained, settings, write_json

app = typer.Typer(help="Keys of this deployment.", no_args_is_help=True)


class Key(StrEnum):
    """Keys that can be replaced. The pseudonym key cannot: every private value would get another pseudonym."""

    SIGNING = "signing"


@app.command("rotate")
def rotate_key(
    key: Annotated[Key, typer.Argument(help="which key: signing")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Replace a key on purpose. New models are signed with the new one; older ones verify by the old public half, which is kept.

    The old private half is destroyed. After a leak, remove the old public half too, once a newly signed version serves.

    Example: updraft keys rotate signing
    """
    from updraft.registry.signing import key_id, retired_keys, rotate

    with explained():
        public = rotate(settings().keys)
        name, trusted = key_id(public), [str(path) for path in retired_keys(settings().keys)]
    if as_json:
        write_json({"key": key.value, "id": name, "public": str(public), "trusted": trusted})
        return
    console.print(f"models are signed with key {name} from now on; its public half is {public}", soft_wrap=True)
    for path in trusted:
        console.print(f"trusted for older versions: {path}", soft_wrap=True)
