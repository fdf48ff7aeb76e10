"""The events of one streamed answer."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tuner.standin.protocol import Answer, Json

DONE = b"[DONE]"
_TEXT = "@@text@@"


class Events:
    """What a streamed answer of `tokens` says, event by event: each is the data of one, as bytes."""

    def __init__(self, answer: Answer, tokens: Sequence[str], finish: str, first_logprob: float) -> None:
        self._answer, self._tokens, self._finish, self._first_logprob = answer, tokens, finish, first_logprob
        self._plain = not (answer.asked.logprobs or answer.asked.continuous_usage)
        before, _, after = encoded(answer.content([_TEXT], None, None, None)).partition(_TEXT.encode())
        self._before, self._after = before, after
        self._texts = [token.encode() for token in tokens]  # simulated words: JSON has nothing to escape in them

    def __len__(self) -> int:
        """How many tokens there are."""
        return len(self._tokens)

    def opening(self) -> list[bytes]:
        """What comes before any token."""
        event = self._answer.opening()
        return [] if event is None else [encoded(event)]

    def tokens(self, begin: int, end: int) -> bytes:
        """The tokens from number `begin` to before `end`. Most events differ in their text alone: only that is made."""
        if self._plain and end < len(self._texts):
            return b"%b%b%b" % (self._before, b"".join(self._texts[begin:end]), self._after)
        tokens = self._tokens[begin:end]
        finish = self._finish if end == len(self._tokens) else None
        usage = self._answer.usage(end) if self._answer.asked.continuous_usage else None
        logprobs = self._answer.logprobs(tokens, self._first_logprob, begin)
        return encoded(self._answer.content(tokens, finish, logprobs, usage))

    def closing(self) -> list[bytes]:
        """What comes after all tokens."""
        if not self._answer.asked.include_usage:
            return [DONE]
        return [encoded(self._answer.closing(len(self._tokens))), DONE]


def encoded(event: Json) -> bytes:
    """An event's data."""
    return json.dumps(event, separators=(",", ":")).encode()
