"""Anchors: what the chain of decisions is held against, kept where the database cannot reach.

Who has rights in the database can cut a chain's tail, or write it anew with new hashes. So every decision is attested
outside of it: its project, sequence, hash and time, signed with a key that is no part of the database (Ed25519, RFC 8032),
in a log that is only added to. A line says that the decision is *intended*, before it is committed, another one that it is
*committed*: so every decision of the chain must have an intention, every commitment must be in the chain, and a process
that was killed in between leaves an intention alone, which means nothing.

On a disk the log is one file, ``<audit>/<project>/audit/log.jsonl``. In a bucket it is an object for each line, which the
bucket's own retention (object lock) keeps from being changed or removed.
"""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from updraft import files
from updraft.errors import SettingsError
from updraft.lake.places import anchors_of
from updraft.settings import Settings
from updraft.store.chain import chain_problem
from updraft.store.records import Decision

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PRIVATE, PUBLIC = "audit.pem", "audit.pub.pem"
LOG = "log.jsonl"
Phase = Literal["intended", "committed"]


@dataclass(frozen=True)
class Anchor:
    """One line of the log."""

    project: str
    seq: int
    sha256: str
    time: str
    """When the decision was written, as the chain has it."""
    phase: Phase
    signature: str = ""
    """Base64, over the canonical JSON of the rest."""

    @property
    def signed(self) -> bytes:
        """What the signature covers."""
        content = {name: value for name, value in asdict(self).items() if name != "signature"}
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()

    def line(self) -> str:
        """As the log holds it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, line: str) -> Anchor | None:
        """The inverse of :meth:`line`; None for what is no anchor."""
        try:
            anchor = cls(**json.loads(line))
        except (ValueError, TypeError, RecursionError):
            return None
        texts = (anchor.project, anchor.sha256, anchor.time, anchor.phase, anchor.signature)
        return anchor if isinstance(anchor.seq, int) and all(isinstance(text, str) for text in texts) else None


@dataclass(frozen=True)
class AnchorLog:
    """The log of one project."""

    url: str
    """Of its folder."""

    def append(self, anchor: Anchor) -> None:
        """Add a line; a line that is there stays."""
        if files.is_local(self.url):
            files.append_line(f"{self.url}/{LOG}", anchor.line())
            return
        # By content: written again after an answer that was lost, it is the same object.
        name = f"{anchor.seq:09d}-{anchor.phase}-{anchor.sha256[:16]}.json"
        files.write_bytes(f"{self.url}/{name}", anchor.line().encode())

    def lines(self) -> Iterator[str]:
        """Every line, in the order of the decisions."""
        if files.is_local(self.url):
            try:
                yield from files.read_bytes(f"{self.url}/{LOG}").decode(errors="replace").splitlines()
            except FileNotFoundError:
                return
            return
        for content in files.read_all_below(self.url):
            yield content.decode(errors="replace")


@dataclass(frozen=True)
class AuditKey:
    """The key pair of a deployment's anchors. Who verifies needs the public half alone."""

    keys: Path
    """Folder of the deployment's keys."""

    @cached_property
    def private(self) -> Ed25519PrivateKey:
        """The private half; made at the first call.

        :raises SettingsError: when it is lost and its public half is still there, or when others can read it.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
            load_pem_private_key,
        )

        path, public = self.keys / PRIVATE, self.keys / PUBLIC
        if not path.exists():
            if public.exists():
                raise SettingsError(
                    f"{path} is lost, and its public half {public} is still there: restore it from a backup; or make a new pair on "
                    "purpose: updraft keys rotate audit. Decisions from before stay verified by the public half"
                )
            made = Ed25519PrivateKey.generate()
            files.create_once(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SettingsError(f"{path} can be read by others; run: chmod 600 {path}")
        key = load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise SettingsError(f"{path} is no Ed25519 key; restore it from a backup")
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        if not public.exists():
            files.create_once(public, pem, 0o644)
        elif public.read_bytes() != pem:
            if not self._retired(public).exists():
                raise SettingsError(f"{path} and {public} do not belong together; restore both from one backup")
            files.replace_whole(public, pem, 0o644)  # a rotation was killed between the two
        return key

    def _retired(self, public: Path) -> Path:
        return self.keys / f"audit.{files.sha256(public.read_bytes())[:16]}.pub.pem"

    def rotate(self) -> Path:
        """Make a new pair on purpose; its public half. The old public half stays, for what was signed with it; the private one goes.

        Killed half way, it is done again.

        :raises SettingsError: when the folder cannot be written.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        public, private = self.keys / PUBLIC, self.keys / PRIVATE
        try:
            if public.exists():
                files.create_once(self._retired(public), public.read_bytes(), 0o644)
            made = Ed25519PrivateKey.generate()
            files.replace_whole(private, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        except OSError as error:
            raise SettingsError(
                f"{self.keys}: {error.strerror}; keys that are mounted are rotated in a copy of the folder"
            ) from error
        AuditKey(self.keys).private.public_key()  # puts its public half in place
        return public

    def sign(self, anchor: Anchor) -> Anchor:
        """The anchor with its signature."""
        signature = base64.b64encode(self.private.sign(anchor.signed)).decode()
        return Anchor(**{**asdict(anchor), "signature": signature})

    def holds(self, anchor: Anchor) -> bool:
        """Whether an anchor was signed with this deployment's key, or one that it had before (``audit*.pub.pem``)."""
        from cryptography.exceptions import InvalidSignature

        for public in self._public:
            try:
                public.verify(base64.b64decode(anchor.signature), anchor.signed)
            except (InvalidSignature, ValueError):
                continue
            return True
        return False

    @cached_property
    def _public(self) -> list[Ed25519PublicKey]:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        keys = [load_pem_public_key(path.read_bytes()) for path in sorted(self.keys.glob("audit*.pub.pem"))]
        return [key for key in keys if isinstance(key, Ed25519PublicKey)]


@dataclass
class Anchors:
    """The witness of a deployment's decisions."""

    base: str
    """URL below which the logs stand."""
    key: AuditKey
    heads: dict[str, Anchor] = field(default_factory=dict)
    """The newest anchor of each project that this process has written."""

    @classmethod
    def of(cls, settings: Settings) -> Anchors:
        """Those of a deployment."""
        return cls(settings.audit or settings.lake, AuditKey(settings.keys))

    def log(self, project: str) -> AnchorLog:
        """The log of a project."""
        return AnchorLog(f"{self.base}/{anchors_of(project)}")

    def intend(self, decision: Decision) -> None:
        """Attest that a decision is about to be committed."""
        self._append(decision, "intended")

    def confirm(self, decision: Decision) -> None:
        """Attest that it was."""
        self.heads[decision.project] = self._append(decision, "committed")

    def _append(self, decision: Decision, phase: Phase) -> Anchor:
        anchor = Anchor(decision.project, decision.seq, decision.sha256, decision.written_at, phase)
        anchor = self.key.sign(anchor)
        self.log(decision.project).append(anchor)
        return anchor


@dataclass(frozen=True)
class Audit:
    """What the chain is worth, held against its anchors."""

    project: str
    decisions: int
    anchored: int
    """Decisions with an anchor; those from before there were anchors have none."""
    problems: tuple[str, ...]
    """Everything that is wrong, in words; empty when the chain is whole."""
    head: Anchor | None = None
    """The newest committed anchor."""
    lacking: tuple[Decision, ...] = ()
    """Decisions to attest when nothing is wrong: whoever wrote them was killed before it could, or there were no anchors yet."""

    @property
    def words(self) -> str:
        """One line for a person."""
        if self.problems:
            return f"{self.project}: the chain of decisions is broken: {self.problems[0]}"
        older = self.decisions - self.anchored
        before = f", {older} of them from before there were anchors" if older else ""
        return f"{self.project}: {self.decisions} decisions, whole and as they were written{before}"


def audit(
    project: str, read: Callable[[], Sequence[Decision]], log: AnchorLog, key: AuditKey, head: Anchor | None = None
) -> Audit:
    """Hold a whole chain against the anchors of its log.

    :param read: gives the chain. It is read after the log, as it may grow: what a line says to be committed is there by then.
    :param head: the newest anchor that was told elsewhere (MLflow); None when none was.
    """
    intended: dict[int, set[str]] = {}
    committed: dict[int, dict[str, Anchor]] = {}
    """By sequence and hash: a tail that was cut and has grown again left two commitments of one sequence."""
    foreign = 0
    # The machine may go down in a line. A torn one says nothing, as one that was never written.
    lines = [
        line for line in log.lines() if line.strip() and not (line.startswith("{") and not line.rstrip().endswith("}"))
    ]
    anchors = [Anchor.read(line) for line in lines]
    for anchor in (*anchors, *([head] if head is not None else [])):
        if anchor is None or anchor.project != project or not key.holds(anchor):
            foreign += 1
            continue
        intended.setdefault(anchor.seq, set()).add(anchor.sha256)
        if anchor.phase == "committed":
            committed.setdefault(anchor.seq, {})[anchor.sha256] = anchor
    chain = read()
    problems = [problem] if (problem := chain_problem(chain)) else []
    if foreign:
        problems.append(f"{foreign} line(s) of {log.url} are not signed by this deployment")
    by_seq = {decision.seq: decision for decision in chain}
    missing = [anchor for seq in sorted(committed) if seq not in by_seq for anchor in committed[seq].values()]
    if missing:
        numbers = list(dict.fromkeys(anchor.seq for anchor in missing))
        problems.append(f"{_range(numbers)} missing: they were written from {missing[0].time} to {missing[-1].time}")
    problems += _replaced(by_seq, committed)
    first = min(intended, default=None)  # from there on everything is attested, of whatever form a link says to be
    unattested = [
        decision
        for decision in chain
        if (decision.form > 1 or (first is not None and decision.seq > first))
        and decision.sha256 not in intended.get(decision.seq, set())
    ]
    if unattested:  # what was decided meanwhile has its line by now
        since = {a.sha256 for line in log.lines() if (a := Anchor.read(line)) and a.project == project and key.holds(a)}
        unattested = [decision for decision in unattested if decision.sha256 not in since]
    if unattested:
        problems.append(
            f"{_range([decision.seq for decision in unattested])} without an anchor in {log.url}: written by somebody else, or the log was cut"
        )
    newest = max(committed, default=None)
    last = None if newest is None else next(iter(committed[newest].values()))
    lacking = tuple(d for d in chain if d.form > 1 and d.sha256 not in committed.get(d.seq, {}))
    if not intended and not lacking:
        lacking = tuple(chain[-1:])
    anchored = sum(d.sha256 in intended.get(d.seq, set()) for d in chain)
    return Audit(project, len(chain), anchored, tuple(problems), last, lacking)


def _replaced(by_seq: Mapping[int, Decision], committed: Mapping[int, Mapping[str, Anchor]]) -> list[str]:
    """Decisions of the chain that stand where another one had been committed."""
    problems = []
    for seq, by_hash in sorted(committed.items()):
        decision = by_seq.get(seq)
        if decision is None:
            continue
        others = [a for a in by_hash.values() if (a.sha256, a.time) != (decision.sha256, decision.written_at)]
        for anchor in others:
            problems.append(
                f"decision {seq} ({decision.kind} {decision.subject}) is not the one that was written at {anchor.time}"
            )
    return problems


def _range(seqs: Sequence[int]) -> str:
    plural = len(seqs) != 1
    listed = str(seqs[0]) if not plural else f"{seqs[0]} to {seqs[-1]} ({len(seqs)} of them)"
    return f"decision{'s' if plural else ''} {listed} {'are' if plural else 'is'}"
