"""What the probe and its load process say to each other: pickled messages behind a length, over pipes.

Both ends are this program, so pickle brings no foreign data in; engine bytes travel as bytes and are parsed by the
parent.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

_HEADER_BYTES = 8

#: The error of a request that ran when the order to stop came.
CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Shot:
    """One request, ready to be sent: `body` is its JSON; `arrival_s` None means when a client is free.

    The next turn of a conversation waits until `think_s` after the request with the index `after` has ended.
    """

    index: int
    arrival_s: float | None
    body: bytes
    after: int | None = None
    think_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Volley:
    """One level, or one process's share of it. Seconds count from the level's start."""

    url: str
    headers: Mapping[str, str]
    shots: tuple[Shot, ...]
    concurrency: int | None
    timeout_s: float
    max_s: float

    def share(self, number: int, of: int) -> Volley:
        """Every `of`-th conversation, from `number` on; of a closed loop every `of`-th client with what it would send.

        So every process has as many requests for each of its clients, also where clients don't divide by processes.
        """
        clients = None if self.concurrency is None else len(range(number, self.concurrency, of))
        own = {
            shot.index
            for place, conversation in enumerate(self.conversations())
            if place % (self.concurrency or of) % of == number
            for shot in conversation
        }
        return replace(self, shots=tuple(shot for shot in self.shots if shot.index in own), concurrency=clients)

    def conversations(self) -> Sequence[Sequence[Shot]]:
        """The requests of each conversation, in the order in which they begin; a request of its own is one."""
        of: dict[int, list[Shot]] = {}
        begun: list[list[Shot]] = []
        for shot in self.shots:
            if shot.after is None:
                begun.append([])
            of[shot.index] = begun[-1] if shot.after is None else of[shot.after]
            of[shot.index].append(shot)
        return begun


@dataclass(frozen=True, slots=True)
class Ready:
    """The volley has arrived, and waits for its start."""


@dataclass(frozen=True, slots=True)
class Go:
    """The level starts at this time of the system's monotonic clock, which all processes share."""

    start_s: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Cancel what runs, and end the level."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One ended request: what arrived when. `sizes[i]` bytes of `data` arrived at `read_s[i]`.

    `data` is the whole HTTP response; `error` is a kind, or a kind and its detail after a colon.
    """

    index: int
    scheduled_s: float
    sent_s: float
    end_s: float
    read_s: Sequence[float]
    sizes: Sequence[int]
    data: bytes
    error: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The level is over. How late requests left after their time, and how late the process's loop woke up."""

    duration_s: float
    sent: int
    late_s: Sequence[float]
    lag_s: Sequence[float]


Message = Volley | Ready | Go | Stop | Reply | Ended


def pack(message: Message) -> bytes:
    """One message as bytes."""
    payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return len(payload).to_bytes(_HEADER_BYTES, "big") + payload


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """The next message, or None when the other end is gone."""
    try:
        size = int.from_bytes(await reader.readexactly(_HEADER_BYTES), "big")
        message: Message = pickle.loads(await reader.readexactly(size))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return message
