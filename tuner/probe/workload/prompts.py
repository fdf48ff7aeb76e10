"""Prompt text: made of words to a wanted number of tokens, or read from a JSONL file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.core.errors import InvalidInput
from tuner.core.request import Message
from tuner.core.workload import Part
from tuner.probe.workload.reading import json_object, numbered_lines, parse_lines, short, whole

# Short common words: with a leading blank each is one token for the tokenizers of current models, so that a number of
# words is very nearly a number of tokens. 16 of them (one KV block) are 2^123 different prefixes.
WORDS = tuple(
    """about above across action after again against age air all along also always among animal another answer any area
    around ask away back bad ball bank base bear beat bed before begin behind best better between big bird black blue
    board boat body book both box boy bread break bring brother brown build burn bus busy buy call came can car card
    care carry case cat catch change child city class clean clear close cloud coast cold color come cook cool corner
    cost country course cover cow cross cry cut dance dark day deep did dog door down draw dream dress drink drive dry
    each early earth east eat egg end even evening every eye face fact fall family far farm fast father feel feet few
    field fight fill find fine fire first fish floor fly follow food foot force forest form found four free fresh friend
    from front fruit full game garden gave get girl give glass go gold gone good grass great green ground group grow
    half hand happy hard hat have head hear heart heat heavy help here high hill hold home horse hot hour house how
    hundred ice idea inside island keep key kind king knew lake land large last late laugh lead leaf learn leave left
    leg less letter life light like line list listen little live long look lost love low made make man many map mark
    market may mean measure meat meet men middle milk mind minute money month moon more morning most mother mountain
    mouth move much music must name near need new next night north nose note nothing now number""".split()  # noqa: SIM905 (a list of 400 lines is not read)
)
_LEAST_PART = 100
#: No tokenizer makes less of a word; a server that says so does not count.
_LEAST_PER_WORD = 0.2


@dataclass(frozen=True)
class Calibration:
    """How words become prompt tokens on this server: tokens = overhead + tokens_per_word * words.

    The overhead is what a chat template or a begin-of-sequence token adds.
    """

    tokens_per_word: float = 1.0
    overhead: float = 0.0

    def words(self, tokens: int) -> int:
        """Words that make about `tokens` tokens (without the overhead)."""
        return max(1, round(tokens / self.tokens_per_word))

    def words_of_prompt(self, tokens: int) -> int:
        """Words that fill a prompt of `tokens` tokens, overhead included."""
        return max(1, round((tokens - self.overhead) / self.tokens_per_word))

    @classmethod
    def fit(cls, samples: Sequence[tuple[int, int]]) -> Calibration:
        """Fit (words sent, prompt tokens reported) pairs by least squares; one distinct length fits the slope only."""
        usable = [(words, tokens) for words, tokens in samples if words > 0 and tokens > 0]
        if not usable:
            return cls()
        words, tokens = np.array(usable, dtype=float).T
        ratio = float(tokens.sum() / words.sum())
        slope, overhead = np.polyfit(words, tokens, 1) if np.ptp(words) else (ratio, 0.0)
        if slope >= _LEAST_PER_WORD:
            return cls(float(slope), float(overhead))
        return cls(ratio) if ratio >= _LEAST_PER_WORD else cls()


def random_words(count: int, rng: np.random.Generator, vocabulary: Sequence[str] = WORDS) -> list[str]:
    """`count` random words; equal generators give the same first words however many are asked for."""
    return [vocabulary[index] for index in rng.integers(0, len(vocabulary), count)]


@dataclass(frozen=True)
class FilePrompt:
    """One prompt of a JSONL file; `output_tokens` is None where the workload's own lengths apply.

    `messages` are those of a chat, whose contents `text` has on end.
    """

    text: str
    output_tokens: int | None = None
    messages: tuple[Message, ...] = ()


def read_prompts(path: str) -> tuple[FilePrompt, ...]:
    """Read a JSONL file: one object a line with "prompt" (text) or "messages" (a chat), and perhaps "output_tokens".

    Roles and contents of a chat go to an API of chats; to one of completions its contents go as one text, joined by
    blank lines. Raises InvalidInput naming file:line of up to ten mistakes.
    """
    prompts = parse_lines(path, numbered_lines(path, "a JSONL file of prompts"), _prompt)
    if not prompts:
        raise InvalidInput(f'{path}: holds no prompts; allowed: one JSON object a line, e.g. {{"prompt": "text"}}')
    return prompts


def part_of(prompts: Sequence[FilePrompt], part: Part, held_out: float) -> tuple[FilePrompt, ...]:
    """The prompts of one part of a file: what a search has measured is not what its winner is confirmed on.

    Which part a prompt belongs to is decided by a hash of its text alone, so that the same ones (`held_out` of all,
    roughly) are held out in every study of a file, also when lines are added, and a text that is there twice is in one
    part only. A file that is not large enough for 100 prompts in either part is not split: both parts are all of it.
    """
    parts: dict[Part, list[FilePrompt]] = {Part.SEARCH: [], Part.HELD_OUT: []}
    for prompt in prompts:
        parts[Part.HELD_OUT if _lot(prompt.text) < held_out else Part.SEARCH].append(prompt)
    if part is Part.ALL or min(map(len, parts.values())) < _LEAST_PART:
        return tuple(prompts)
    return tuple(parts[part])


def _lot(text: str) -> float:
    """A number from 0 to 1 that this text always draws."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _prompt(line: str) -> FilePrompt:
    value = json_object(line, '{"prompt": "text"} or {"messages": [...]}')
    prompt = value.get("prompt")
    messages = () if isinstance(prompt, str) else _messages(value.get("messages"))
    text = prompt if isinstance(prompt, str) else "\n\n".join(content for _, content in messages if content)
    if not text:
        raise ValueError(
            f'{short(value)} has no text; allowed: "prompt" (non-empty text) or "messages", each with "role" and '
            '"content", a text or a list of {"type": "text", "text": ...}'
        )
    output = value.get("output_tokens")
    return FilePrompt(text, None if output is None else whole("output_tokens", output), messages)


def _messages(value: object) -> tuple[Message, ...]:
    """A chat's messages; none where it can't be read."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return ()
    found: list[Message] = []
    for one in value:
        role, content = one.get("role"), _content(one.get("content"))
        if not isinstance(role, str) or content is None:
            return ()
        found.append((role, content))
    return tuple(found)


def _content(value: object) -> str | None:
    """A message's content: a text, or parts that are texts, which chat templates put on end; None for another one."""
    if not isinstance(value, list):
        return value if isinstance(value, str) else None
    texts = [one.get("text") for one in value if isinstance(one, dict) and one.get("type") == "text"]
    found = [text for text in texts if isinstance(text, str)]
    return "\n".join(found) if len(found) == len(value) else None
