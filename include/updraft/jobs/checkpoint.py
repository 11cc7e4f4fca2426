"""States of a training in the lake, so that another process can go on where a killed one was."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from updraft import files
from updraft.jobs.attested import is_sealed, seal
from updraft.training.host import Group
from updraft.training.learning import Checkpoint, Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GroupCheckpoint:
    """One checkpoint of a group: worker 0 writes it, and reads it to all."""

    group: Group
    kept: Checkpoint

    def load(self, phase: str) -> tuple[bytes, Progress] | None:
        """What worker 0 finds, on every worker."""
        loaded = self.kept.load(phase) if self.group.rank == 0 else None
        said = json.dumps(asdict(loaded[1])).encode() if loaded else b""
        progress = self.group.agreed(said)
        state = self.group.agreed(loaded[0] if loaded else b"")
        if not progress:
            return None
        read = Progress(**json.loads(progress))
        return state, replace(read, curve=tuple(read.curve))

    def save(self, phase: str, state: bytes, progress: Progress) -> None:
        """Keep it, on worker 0; the state is the same on every worker."""
        if self.group.rank == 0:
            self.kept.save(phase, state, progress)


@dataclass(frozen=True)
class Begun:
    """What others learnt, by phase, to go on from; what follows is not kept."""

    phases: Mapping[str, tuple[bytes, Progress]]

    def load(self, phase: str) -> tuple[bytes, Progress] | None:
        """What there was of a phase."""
        return self.phases.get(phase)

    def save(self, phase: str, state: bytes, progress: Progress) -> None:
        """Nowhere."""


@dataclass(frozen=True)
class FolderCheckpoint:
    """Two slots per phase and a small state file that says which one counts: written last, whole or not at all."""

    url: str
    binding: dict[str, str]
    """What a checkpoint belongs to: request hash and library version. One with another binding is not taken up."""
    saved: Callable[[str, Progress], None] | None = None
    """Called after each state."""
    suffix: str = ".ubj"
    """Of the files; from what the trainer writes."""
    key: str | None = None
    """Secret of whoever keeps it: a state that was not kept with it counts as not there."""

    def load(self, phase: str) -> tuple[bytes, Progress] | None:
        """The last whole state of a phase, or None when there is none that belongs here."""
        state = self._state(phase)
        if state is None:
            return None
        if state["binding"] != self.binding:
            log.warning(
                "%s: checkpoint of %s is of %s, not %s: starting over", self.url, phase, state["binding"], self.binding
            )
            return None
        try:
            content = files.read_bytes(f"{self.url}/{state['file']}")
        except FileNotFoundError:
            log.warning("%s: %s is gone: starting over", self.url, state["file"])
            return None
        if files.sha256(content) != state["sha256"]:
            log.warning("%s: %s is damaged: starting over", self.url, state["file"])
            return None
        try:
            progress = Progress(**state["progress"])
        except (KeyError, TypeError):
            log.warning("%s: the note of %s is damaged: starting over", self.url, phase)
            return None
        return content, replace(progress, curve=tuple(progress.curve))

    def save(self, phase: str, state: bytes, progress: Progress) -> None:
        """Keep a state in the slot that the note does not name, then name it."""
        before = self._state(phase)
        slot_a, slot_b = f"{phase}-a{self.suffix}", f"{phase}-b{self.suffix}"
        slot = slot_b if before and before["file"] == slot_a else slot_a
        files.write_bytes(f"{self.url}/{slot}", state)
        note = {"binding": self.binding, "file": slot, "sha256": files.sha256(state), "progress": asdict(progress)}
        note = json.loads(json.dumps(note))
        sealed = {} if self.key is None else {"seal": seal(self.key, self._sealed(phase, note))}
        files.write_json(f"{self.url}/{phase}.json", {**note, **sealed})
        if self.saved:
            self.saved(phase, progress)

    def discard(self) -> None:
        """Remove the states: the result is there."""
        files.remove(self.url)

    def _sealed(self, phase: str, note: dict[str, Any]) -> list[Any]:
        """What the seal covers: the place too, or the proof's last state could be put where the release looks for its own."""
        return [self.url, phase, note]

    def _state(self, phase: str) -> dict[str, Any] | None:
        try:
            state = files.read_json(f"{self.url}/{phase}.json")
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            state = None
        if not isinstance(state, dict) or not {"binding", "file", "sha256"} <= set(state):
            log.warning("%s: the note of %s is damaged: starting over", self.url, phase)
            return None
        given = state.pop("seal", None)
        if self.key is not None and not is_sealed(self.key, self._sealed(phase, state), given):
            log.warning("%s: %s was kept by somebody else: starting over", self.url, phase)
            return None
        return state
