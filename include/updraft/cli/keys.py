"""``updraft keys``: keys of this deployment, replaced on purpose."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from updraft.cli.edge import console, explained, settings, write_json
from updraft.files import sha256

app = typer.Typer(help="Keys of this deployment.", no_args_is_help=True)


class Key(StrEnum):
    """Keys that can be replaced. The pseudonym key cannot: every private value would get another pseudonym."""

    SIGNING = "signing"
    AUDIT = "audit"


@app.command("rotate")
def rotate_key(
    key: Annotated[Key, typer.Argument(help="which key: signing (of models) or audit (of the anchors of decisions)")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Replace a key on purpose. What comes is signed with the new one; what was verifies by the old public half, which is kept.

    The old private half is destroyed. After a leak, remove the old public half too, once a newly signed version serves.

    Example: updraft keys rotate signing
    """
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
