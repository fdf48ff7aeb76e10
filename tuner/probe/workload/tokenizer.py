"""The model's own tokenizer, where its file is at hand: token counts before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tuner.core.errors import InvalidInput
from tuner.probe.workload.prompts import WORDS

# With fewer different words than that, prompts would be too much alike.
_LEAST_WORDS = 64
_EXTRA = "pip install 'tuner[tokenizer]'"


@dataclass(frozen=True)
class Tokenizer:
    """Counts tokens, without those that a server adds (begin of sequence, chat template); `path` is its file."""

    path: str
    count: Callable[[str], int]

    @classmethod
    def load(cls, path: str) -> Tokenizer:
        """Read a tokenizer.json. Raises InvalidInput where it can't be read, and without the package for it."""
        try:
            from tokenizers import Tokenizer as Encoder
        except ImportError:
            raise InvalidInput(
                f"workload.tokenizer: {path} can't be read without the package tokenizers; {_EXTRA}, or leave it out: "
                "token counts are then learnt from the server's usage"
            ) from None
        try:
            encoder = Encoder.from_str(Path(path).read_text(encoding="utf-8"))
        except Exception as error:  # the package raises nothing more precise
            raise InvalidInput(f"workload.tokenizer: {path} is no tokenizer.json: {error}") from error
        return cls(path, lambda text: len(encoder.encode(text, add_special_tokens=False).ids))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Words that are one token each, wherever they stand: of so many words there are exactly so many tokens.

        Raises InvalidInput where the tokenizer has too few of them.
        """
        alone = self.count(WORDS[0])
        found = tuple(word for word in WORDS if self.count(word) == 1 and self.count(f"{WORDS[0]} {word}") == alone + 1)
        if len(found) < _LEAST_WORDS or self.count(" ".join(found)) != len(found):
            raise InvalidInput(
                f"workload.tokenizer: {self.path} has no single tokens for common English words, so prompts of exact "
                "lengths can't be made with it; leave it out: lengths are then calibrated by the server's usage"
            )
        return found
