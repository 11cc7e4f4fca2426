"""Signatures of model folders with a local elliptic-curve key, in the format of OpenSSF's model-signing.

The signature lies in the folder as ``model.sig`` and covers every other file in it: one that is changed, missing or
added is named and refused.
"""

from __future__ import annotations

import ast
import os
import stat
import uuid
from pathlib import Path
from typing import Any

from updraft.errors import IntegrityError, SettingsError

SIGNATURE = "model.sig"
PRIVATE, PUBLIC = "signing.pem", "signing.pub.pem"


def sign(folder: Path, keys: Path) -> None:
    """Sign a folder, replacing a signature that is there; makes the key pair when there is none.

    :raises SettingsError: when the private key is readable by others.
    """
    from model_signing import signing

    private, _ = key_pair(keys)
    aside = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.sig"  # not in the folder, as that is being hashed
    config = signing.Config().use_elliptic_key_signer(private_key=private).set_hashing_config(_hashing())
    try:
        config.sign(folder, aside)
        aside.replace(folder / SIGNATURE)
    finally:
        aside.unlink(missing_ok=True)


def verify(folder: Path, keys: Path) -> None:
    """Check that a folder is what was signed with this deployment's key.

    :raises IntegrityError: when the signature is missing or not ours, or a file was changed, removed or added: named.
    """
    from model_signing import verifying

    signature, public = folder / SIGNATURE, keys / PUBLIC
    if not signature.is_file():
        raise IntegrityError(f"{folder}: {SIGNATURE} is missing; no unsigned model is loaded: train it again")
    if not public.is_file():
        raise IntegrityError(f"{public} is missing, so {folder} cannot be verified; bring the deployment's keys back")
    config = verifying.Config().use_elliptic_key_verifier(public_key=public).set_hashing_config(_hashing())
    try:
        config.verify(folder, signature)
    except Exception as error:  # the library raises what its parsers raise; each means: not verified
        raise IntegrityError(
            f"{folder} is refused: {_words(error)}; find out who changed it, then remove the folder and fetch it again"
        ) from error


def key_pair(keys: Path) -> tuple[Path, Path]:
    """The private and the public key; made at the first call. Of two processes that make one, the first wins.

    :raises SettingsError: when the private key is readable by others.
    """
    private, public = keys / PRIVATE, keys / PUBLIC
    if not private.exists():
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        _create(private, _new_key(), 0o600)
    if private.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"{private} can be read by others; run: chmod 600 {private}")
    if not public.exists():
        _create(public, _public_of(private.read_bytes()), 0o644)
    return private, public


def _create(path: Path, content: bytes, mode: int) -> None:
    """Write a file whole, unless it exists."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, path)
    except FileExistsError:
        return  # another process was first; its key counts
    finally:
        aside.unlink()


def _new_key() -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public_of(private: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    return (
        load_pem_private_key(private, None).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )


def _hashing() -> Any:
    from model_signing import hashing

    # SHA-256, as a blake2 signature does not verify. Git's files are not left out: nothing but the signature is.
    config = hashing.Config().use_file_serialization(hashing_algorithm="sha256", max_workers=2)
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _words(error: Exception) -> str:
    text = str(error).strip()
    if text.startswith("Signature mismatch: "):  # followed by the repr of a list, with the digests in it
        found = ast.literal_eval(text.removeprefix("Signature mismatch: "))
        return "; ".join(difference.partition(": Expected")[0] for difference in found)
    if text.startswith("Key mismatch"):
        return "it was signed with the key of another deployment"
    return f"{SIGNATURE} is no valid signature ({type(error).__name__}: {text})"
