"""Workers that learn one model together: processes with the same request, each with a number.

The first one (worker 0) listens at an address that all of them know; the others come to it. Each pair of connections
is a *line*, on which the few numbers go that all must agree on, and a *pulse*, on which nothing is said until the end:
when it breaks, a worker is lost, and every other one ends too. The group then starts again from the checkpoint.
Who comes in proves that it knows the group's secret (:class:`_Handshake`), and so does worker 0.
What is learnt itself goes over XGBoost's collective or torch.distributed, whose addresses are agreed on here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from updraft.errors import SettingsError, TrainingError, TrainingInterrupted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

WORKER, MEETING, TOKEN = "UPDRAFT_WORKER", "UPDRAFT_MEETING", "UPDRAFT_MEETING_TOKEN"
"""Variables of a worker: its number, host:port of worker 0, and the group's secret."""
WAIT = 1800.0
"""Seconds that worker 0 waits for the others, which may wait for a node."""
LOST = 75
"""Exit code of a worker whose group is lost: as of one that was asked to end, the same request goes on."""
_TELL, _TRY, _UNWIND = 15.0, 0.5, 10.0
_BYE = b"."
_SHORTEST_TOKEN = 32
"""Characters; :func:`new_token` gives more."""
_GREETING = 4096
"""Bytes that a message may have before its sender is known."""
_LONGEST = 2**34


def new_token() -> str:
    """A secret for one group: for its workers' environment, and nowhere else."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Place:
    """One worker of a group, before it has met the others."""

    rank: int
    host: str
    port: int
    token: str = field(repr=False)
    """The group's secret: not in the request, which everybody reads who reads the lake."""

    @classmethod
    def of(cls, env: Mapping[str, str] = os.environ) -> Place | None:
        """The place that the environment gives this process; None when it is no worker of a group.

        :raises SettingsError: when a variable is malformed.
        """
        if WORKER not in env:
            return None
        host, _, port = env.get(MEETING, "").rpartition(":")
        if not (env[WORKER].isdigit() and host and port.isdigit()):
            raise SettingsError(
                f"{WORKER}={env[WORKER]!r}, {MEETING}={env.get(MEETING)!r}: a worker needs its number (0 is the first) "
                "and host:port of worker 0"
            )
        token = env.get(TOKEN, "")
        if len(token) < _SHORTEST_TOKEN:
            raise SettingsError(
                f"{TOKEN} has {len(token)} characters: a worker needs the secret of its group, {_SHORTEST_TOKEN} or more "
                "random characters; whoever starts the group makes it and gives it to all its workers"
            )
        return cls(int(env[WORKER]), host, int(port), token)


@dataclass(eq=False)
class ConnectedGroup:
    """The workers, seen from one of them, and its connections to the others. See :class:`updraft.training.host.Group`."""

    rank: int = 0
    size: int = 1
    host: str = "127.0.0.1"
    """Worker 0 as the others reach it."""
    lines: list[socket.socket] = field(default_factory=list)
    """Of worker 0: to each other one, in order; of the others: to worker 0."""
    lost: threading.Event = field(default_factory=threading.Event)

    def agreed(self, content: bytes = b"") -> bytes:
        """What worker 0 says."""
        with self._told():
            for line in self.lines if self.rank == 0 else ():
                _send(line, content)
            return _receive(self.lines[0]) if self.rank else content

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over the workers."""
        import numpy as np

        return self._reduced(values, np.add)

    def highest(self, value: float) -> float:
        """The highest number of any worker."""
        import numpy as np

        return float(self._reduced(np.array([value], np.float64), np.maximum)[0])

    def _reduced(self, values: NDArray[np.float64], join: Any) -> NDArray[np.float64]:
        import numpy as np

        reduced = np.ascontiguousarray(values, np.float64)
        with self._told():
            if self.rank:
                _send(self.lines[0], reduced.tobytes())
                return np.frombuffer(_receive(self.lines[0]), np.float64).reshape(reduced.shape)
            for line in self.lines:
                reduced = join(reduced, np.frombuffer(_receive(line), np.float64).reshape(reduced.shape))
            for line in self.lines:
                _send(line, reduced.tobytes())
        return reduced

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost.set()
            raise _lost_worker() from error


@dataclass(frozen=True)
class _Handshake:
    """How two workers show each other that they know the group's secret and mean the same request, without sending the secret.

    Each side sends a number that it draws for this connection, and gets it back signed (HMAC-SHA-256) with who signs: what is
    overheard is of no use for another connection, and an answer of one side is none of the other.
    """

    token: str = field(repr=False)
    request_sha256: str

    def signature(self, signer: str, *said: str) -> str:
        """What a side answers to what was said; ``signer`` names the side."""
        words = json.dumps([signer, self.request_sha256, *said]).encode()
        return hmac.new(self.token.encode(), words, hashlib.sha256).hexdigest()

    def check(self, signature: object, signer: str, *said: str) -> None:
        """:raises ValueError: when the other side does not know the secret, or means another request."""
        if not hmac.compare_digest(str(signature).encode(), self.signature(signer, *said).encode()):
            raise ValueError(f"{signer} does not know the secret of this group, or comes with another request")


@contextmanager
def meeting(place: Place, size: int, request_sha256: str, done: Callable[[], bool]) -> Iterator[ConnectedGroup | None]:
    """Meet the others and be a group until the end of the block; None when there is nothing left to do.

    :param request_sha256: what is learnt; who comes with another one, or without the secret of ``place``, is turned away.
    :param done: whether the result is there; asked by a worker that finds nobody to meet.
    :raises TrainingError: when the others do not come.
    :raises TrainingInterrupted: when a worker is lost, at any time.
    """
    if place.rank >= size:
        raise TrainingError(f"worker {place.rank} of a group of {size}: the last one is {size - 1}")
    handshake = _Handshake(place.token, request_sha256)
    met = _welcome(place, size, handshake) if place.rank == 0 else _come(place, size, handshake, done)
    if met is None:
        yield None
        return
    group, pulses = met
    ended = threading.Event()
    for pulse in pulses:
        threading.Thread(target=_feel, args=(pulse, group, ended), name="pulse", daemon=True).start()
    log.info("Worker %d of %d: all are here", group.rank, group.size)
    try:
        yield group
        _say_good_bye(pulses)
    except TrainingInterrupted:
        if not group.lost.is_set():  # all leave, as agreed
            _say_good_bye(pulses)
        raise
    except Exception as error:  # a library's collective tells of a lost worker in words of its own, or a moment earlier
        if group.lost.wait(2.0):
            raise _lost_worker() from error
        raise
    finally:
        ended.set()
        for to_close in (*group.lines, *pulses):
            to_close.close()


def _say_good_bye(pulses: list[socket.socket]) -> None:
    for pulse in pulses:
        with suppress(OSError):
            pulse.sendall(_BYE)


def _lost_worker() -> TrainingInterrupted:
    return TrainingInterrupted(
        "a worker of the group was lost; the group goes on from the last checkpoint when it is run again"
    )


def _feel(pulse: socket.socket, group: ConnectedGroup, ended: threading.Event) -> None:
    """Wait for the end of a pulse. Without a good-bye the worker is lost, and this process ends: what it computes waits for ever."""
    try:
        last = pulse.recv(1)
    except OSError:
        last = b""
    if last == _BYE or ended.is_set():
        return
    group.lost.set()
    if not ended.wait(_UNWIND):
        log.error("%s", _lost_worker())
        os._exit(LOST)


def _welcome(place: Place, size: int, handshake: _Handshake) -> tuple[ConnectedGroup, list[socket.socket]]:
    here: dict[tuple[int, str], socket.socket] = {}
    expected = [(rank, use) for rank in range(1, size) for use in ("line", "pulse")]
    deadline, told = time.monotonic() + WAIT, time.monotonic()
    with _listening(place) as door:
        while missing := sorted({rank for rank, use in expected if (rank, use) not in here}):
            now = time.monotonic()
            if now > deadline:
                raise TrainingError(
                    f"workers {missing} of {size} did not come within {WAIT:.0f} s; are there nodes for all of them?"
                )
            if now - told > _TELL:
                told = now
                log.info("Waiting for workers %s of %d", missing, size)
            with suppress(TimeoutError):
                _let_in(door.accept()[0], handshake, here, expected)
    lines = [here[rank, "line"] for rank in range(1, size)]
    host = lines[0].getsockname()[0]
    group = ConnectedGroup(0, size, str(host), lines)
    group.agreed(json.dumps({"host": host}).encode())
    return group, [here[rank, "pulse"] for rank in range(1, size)]


def _listening(place: Place) -> socket.socket:
    here = place.host if place.host in ("127.0.0.1", "localhost") else ""
    door = socket.create_server((here, place.port), backlog=64)
    door.settimeout(_TRY)
    return door


def _let_in(
    guest: socket.socket,
    handshake: _Handshake,
    here: dict[tuple[int, str], socket.socket],
    expected: list[tuple[int, str]],
) -> None:
    """Take a connection in; one that comes again (its process was started anew) takes the place of the former one."""
    guest.settimeout(5.0)
    drawn = secrets.token_hex(32)
    try:
        _send(guest, json.dumps({"drawn": drawn}).encode())
        answer = json.loads(_receive(guest, longest=_GREETING))
        who = (int(answer["rank"]), str(answer["use"]))
        handshake.check(answer["signature"], f"worker {who[0]}", who[1], drawn, str(answer["drawn"]))
        if who not in expected:
            raise ValueError(f"{who} is no worker of this group")
        _send(guest, json.dumps({"signature": handshake.signature("worker 0", who[1], str(answer["drawn"]))}).encode())
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning("Turned away who is no worker of this group: %s", error)
        guest.close()
        return
    _ready(guest)
    if who in here:
        here[who].close()
    here[who] = guest


def _come(
    place: Place, size: int, handshake: _Handshake, done: Callable[[], bool]
) -> tuple[ConnectedGroup, list[socket.socket]] | None:
    deadline = time.monotonic() + WAIT
    while not done():
        try:
            line, pulse = (_connected(place, handshake, use) for use in ("line", "pulse"))
            welcome = json.loads(_receive(line))
            return ConnectedGroup(place.rank, size, str(welcome["host"]), [line]), [pulse]
        except OSError as error:
            if time.monotonic() > deadline:
                raise TrainingError(
                    f"worker {place.rank} found no worker 0 at {place.host}:{place.port} within {WAIT:.0f} s: {error}"
                ) from error
            time.sleep(_TRY)
    return None


def _connected(place: Place, handshake: _Handshake, use: str) -> socket.socket:
    """A connection to worker 0, which has proved that it is that.

    :raises OSError: when nobody answers, or somebody else does.
    """
    connection = socket.create_connection((place.host, place.port), timeout=5.0)
    drawn, me = secrets.token_hex(32), f"worker {place.rank}"
    try:
        asked = str(json.loads(_receive(connection, longest=_GREETING))["drawn"])
        answer = {
            "rank": place.rank,
            "use": use,
            "drawn": drawn,
            "signature": handshake.signature(me, use, asked, drawn),
        }
        _send(connection, json.dumps(answer).encode())
        welcome = json.loads(_receive(connection, longest=_GREETING))
        handshake.check(welcome["signature"], "worker 0", use, drawn)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        connection.close()
        raise ConnectionError(f"who answers there is not worker 0 of this group: {error}") from error
    except OSError:
        connection.close()
        raise
    _ready(connection)
    return connection


def _ready(connection: socket.socket) -> None:
    """No time limit, no delay; a machine that is gone is noticed within half a minute."""
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _send(line: socket.socket, content: bytes) -> None:
    line.sendall(struct.pack(">Q", len(content)) + content)


def _receive(line: socket.socket, longest: int = _LONGEST) -> bytes:
    length = struct.unpack(">Q", _exactly(line, 8))[0]
    if length > longest:
        raise ConnectionError(f"a message of {length} bytes")
    return _exactly(line, length)


def _exactly(line: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        some = line.recv(min(count - len(received), 2**20))
        if not some:
            raise ConnectionResetError("the other side is gone")
        received += some
    return bytes(received)
