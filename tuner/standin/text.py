"""Words as tokens: a rule in place of a tokenizer, the same on every run."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import Any

#: A word of up to eight letters with the blanks before it is one token, as are longer words' further eights, and every
#: other sign.
_TOKEN = re.compile(r"\s*\w{1,8}|\s*[^\w\s]|\s+\Z")
#: What a begin-of-sequence token and a chat template add.
_BEGIN, _PER_MESSAGE, _CHAT_END = "<|begin|>", ("<|start|>", "<|end|>", "\n\n"), ("<|start|>", "assistant", "\n\n")


def tokens_of(prompt: str | Sequence[int]) -> list[Hashable]:
    """The tokens of a prompt; a list of token ids counts exactly."""
    if isinstance(prompt, str):
        return [_BEGIN, *_TOKEN.findall(prompt)]
    return list(prompt)


def chat_tokens(messages: Sequence[Any]) -> list[Hashable]:
    """The tokens of a chat under its template."""
    found: list[Hashable] = [_BEGIN]
    for message in messages:
        found += [*_PER_MESSAGE, str(message.get("role", "")), *_TOKEN.findall(chat_text(message.get("content")))]
    return [*found, *_CHAT_END]


def chat_text(content: Any) -> str:
    """A message's text: plain, or in parts."""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def block_hashes(tokens: Sequence[Hashable], block_size: int) -> tuple[Hashable, ...]:
    """A hash for each whole block that stands for its tokens and all before them."""
    hashes: list[Hashable] = []
    chain = 0
    for start in range(0, len(tokens) - block_size + 1, block_size):
        chain = hash((chain, tuple(tokens[start : start + block_size])))
        hashes.append(chain)
    return tuple(hashes)
