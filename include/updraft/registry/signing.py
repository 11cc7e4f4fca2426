"""Signatures of model folders with a local elliptic-curve key, in the format of OpenSSF's model-signing.

The signature lies in the folder as ``model.sig`` and covers every other file in it: one that is changed, missing or
added is named and refused.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from updraft.errors import IntegrityError, SettingsError
from updraft.files import create_once, replace_whole

SIGNATURE = "model.sig"
PRIVATE, PUBLIC = "signing.pem", "signing.pub.pem"
_RETIRED = "signing.pub.{}.pem"


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
    """Check that a folder is what was signed with a key of this deployment: the one in use, or one that it replaced.

    :raises IntegrityError: when the signature is missing or not ours, or a file was changed, removed or added: named.
    """
    from model_signing import verifying

    signature = folder / SIGNATURE
    if not signature.is_file():
        raise IntegrityError(f"{folder}: {SIGNATURE} is missing; no unsigned model is loaded: train it again")
    public = _signed_with(signature, keys)
    if public is None:
        raise IntegrityError(
            f"{keys / PUBLIC} is missing, so {folder} cannot be verified; bring the deployment's keys back"
        )
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public).set_hashing_config(_hashing())
        config.verify(folder, signature)
    except Exception as error:  # the library raises what its parsers raise; each means: not verified
        raise IntegrityError(
            f"{folder} is refused: {_words(error)}; find out who changed it, then remove the folder and fetch it again"
        ) from error


def key_pair(keys: Path) -> tuple[Path, Path]:
    """The private and the public key; made at the first call. Of two processes that make one, the first wins.

    A private key that was lost is not replaced silently: whoever looks at the next model would not know why it changed.

    :raises SettingsError: when the private key is lost, is none, is readable by others, or is not the public key's.
    """
    private, public = keys / PRIVATE, keys / PUBLIC
    signed_before = public.exists() or bool(retired_keys(keys))  # first: a pair is made private half first
    if not private.exists():
        if signed_before:
            raise SettingsError(
                f"{private} is lost, though models were signed with it (its public half is in {keys}). Restore it from "
                "a backup; or make a new pair on purpose: updraft keys rotate signing. Versions signed so far stay trusted"
            )
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        create_once(private, _new_key(), 0o600)
    if private.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"{private} can be read by others; run: chmod 600 {private}")
    own = _public_of(private)
    if not public.exists():
        create_once(public, own, 0o600)
    elif key_id(public) != _id_of(own):
        if not _retired(keys, public).exists():
            raise SettingsError(
                f"{private} and {public} do not belong together; restore both from one backup, "
                "or make a new pair on purpose: updraft keys rotate signing"
            )
        replace_whole(public, own, 0o600)  # a rotation was killed between the two
    return private, public


def rotate(keys: Path) -> Path:
    """Make a new pair on purpose and return its public half. The old public half stays, for what was signed with it.

    The old private half is destroyed. It may be lost already. Killed half way, it is done by the next signing or rotation.

    :raises SettingsError: when a key is there that cannot be read as one, or the folder cannot be written.
    """
    private, public = keys / PRIVATE, keys / PUBLIC
    try:
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(keys):  # two rotations at once would mix their halves
            if private.exists() and not public.exists():
                create_once(public, _public_of(private), 0o600)
            if public.exists():
                create_once(_retired(keys, public), public.read_bytes(), 0o600)
            replace_whole(private, _new_key(), 0o600)
            replace_whole(public, _public_of(private), 0o600)
    except OSError as error:
        raise SettingsError(
            f"{keys}: {error.strerror}; keys that are mounted, such as a Kubernetes Secret, are rotated in a copy of the "
            "folder, which then takes the place of what is mounted"
        ) from error
    return public


@contextmanager
def _alone(keys: Path) -> Iterator[None]:
    folder = os.open(keys, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def key_id(public: Path) -> str:
    """What tells public keys apart, and stands in the signatures of their private halves: hex SHA-256 of the key.

    :raises SettingsError: when the file is no public key.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(public.read_bytes())
    except ValueError as error:
        raise SettingsError(f"{public} is no public key; restore it from a backup, or remove it") from error
    return _id_of(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def retired_keys(keys: Path) -> list[Path]:
    """Public halves of keys that were replaced: what they signed is still trusted. Remove one to end that."""
    return sorted(keys.glob(_RETIRED.format("*")))


def _retired(keys: Path, public: Path) -> Path:
    return keys / _RETIRED.format(key_id(public)[:16])


def _id_of(pem: bytes) -> str:
    return hashlib.sha256(pem).hexdigest()


def _signed_with(signature: Path, keys: Path) -> Path | None:
    """The trusted key that a signature names; the one in use when it names none of them, and None when there is none."""
    try:
        named = json.loads(signature.read_bytes())["verificationMaterial"]["publicKey"]["hint"]
    except (ValueError, KeyError, TypeError, RecursionError):  # no signature: the library says so
        named = None
    public = keys / PUBLIC
    for path in (public, *retired_keys(keys)):
        if path.is_file() and key_id(path) == named:
            return path
    return public if public.is_file() else None


def _new_key() -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public_of(private: Path) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(private.read_bytes(), None)
    except (ValueError, TypeError) as error:  # TypeError: it asks for a passphrase
        raise SettingsError(
            f"{private} is no private key without a passphrase ({type(error).__name__}); restore it from a backup, or "
            "make a new pair on purpose: remove it, then updraft keys rotate signing"
        ) from error
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _hashing() -> Any:
    from model_signing import hashing

    # SHA-256, as a blake2 signature does not verify. Git's files are not left out: nothing but the signature is.
    config = hashing.Config().use_file_serialization(hashing_algorithm="sha256", max_workers=2)
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _words(error: Exception) -> str:
    text = str(error).strip()
    if text.startswith("Signature mismatch: "):  # followed by the repr of a list, with the digests in it
        differences = ast.literal_eval(text.removeprefix("Signature mismatch: "))
        return "; ".join(difference.partition(": Expected")[0] for difference in differences)
    if text.startswith("Key mismatch"):
        return "it was signed with the key of another deployment"
    return f"{SIGNATURE} is no valid signature ({type(error).__name__}: {text})"
