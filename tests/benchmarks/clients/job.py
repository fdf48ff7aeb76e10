"""What a client is asked to do, and what it tells. Standard library only: environments of other clients import it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

MODEL = "stub"
PATH = "/v1/completions"
_WORDS = " the quick brown fox jumps over the lazy dog" * 5


@dataclass(frozen=True)
class Job:
    """`requests` of `tokens` each: all at once, or one every 1/`rate` s. What the client writes goes to `folder`."""

    endpoint: str
    requests: int
    tokens: int
    rate: float | None
    folder: Path

    @property
    def report(self) -> Path:
        """Where an adapter of ours leaves what its client told."""
        return self.folder / "told.json"

    def prompts(self) -> list[str]:
        """One prompt a request; its first word is the request's name."""
        return [f"r{index}{_WORDS}" for index in range(self.requests)]

    def body(self, prompt: str) -> dict[str, object]:
        """A request for one of them, for clients that leave the JSON to us."""
        return {
            "model": MODEL,
            "prompt": prompt,
            "max_tokens": self.tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def start_s(self, index: int) -> float:
        """When the request is to be sent, in seconds after the first."""
        return index / self.rate if self.rate is not None else 0.0

    def dump(self) -> str:
        """The job as a command-line argument."""
        return json.dumps({**asdict(self), "folder": str(self.folder)})

    @classmethod
    def load(cls, text: str) -> Job:
        """The job that `dump` wrote."""
        fields = json.loads(text)
        return cls(**{**fields, "folder": Path(fields["folder"])})


@dataclass(frozen=True)
class Told:
    """One request as its client reports it, in seconds of the client's own clock.

    `name` is the first word of its prompt, its X-Request-ID or the id of the answer. `at_s` are the arrivals of all
    tokens, or of the first and the last one where the client keeps no more. `scheduled_s` is when it should have been
    sent, from clients that count from there.
    """

    name: str
    start_s: float
    at_s: tuple[float, ...]
    scheduled_s: float | None = None


def write(path: Path, told: Iterable[Told]) -> None:
    """Leave what was told for the benchmark."""
    path.write_text(json.dumps([asdict(one) for one in told]), encoding="utf-8")


def read(path: Path) -> list[Told]:
    """What `write` left."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Told(**{**row, "at_s": tuple(row["at_s"])}) for row in rows]
