"""Prompt text: made of words to a wanted number of tokens, or read from a JSONL file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuner.core.errors import InvalidInput

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
_PROBLEMS_TOLD = 10


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

    def own_words(self, tokens: int, words_before: int) -> int:
        """Words that fill a prompt up to `tokens` tokens, overhead included, after `words_before` words."""
        return max(1, round((tokens - self.overhead) / self.tokens_per_word) - words_before)

    @classmethod
    def fit(cls, samples: Sequence[tuple[int, int]]) -> Calibration:
        """Fit (words sent, prompt tokens reported) pairs by least squares; one distinct length fits the slope only."""
        usable = [(words, tokens) for words, tokens in samples if words > 0 and tokens > 0]
        if not usable:
            return cls()
        words, tokens = np.array(usable, dtype=float).T
        if np.ptp(words) == 0:
            return cls(float(tokens.mean() / words.mean()))
        slope, overhead = np.polyfit(words, tokens, 1)
        if slope <= 0:
            return cls(float(tokens.sum() / words.sum()))
        return cls(float(slope), float(overhead))


def random_text(words: int, rng: np.random.Generator) -> str:
    """`words` random words, separated by blanks."""
    return " ".join(WORDS[index] for index in rng.integers(0, len(WORDS), words))


@dataclass(frozen=True)
class FilePrompt:
    """One prompt of a JSONL file; `output_tokens` is None where the workload's own lengths apply."""

    text: str
    output_tokens: int | None = None


def read_prompts(path: str) -> tuple[FilePrompt, ...]:
    """Read a JSONL file: one object a line with "prompt" (text) or "messages" (a chat), and perhaps "output_tokens".

    The contents of a chat's messages are joined by blank lines into one prompt. Raises InvalidInput naming file:line of
    up to ten mistakes.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path}: can't be read as UTF-8 text ({error}); allowed: a JSONL file of prompts"
        ) from error
    prompts: list[FilePrompt] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            found = _prompt(line)
            if isinstance(found, FilePrompt):
                prompts.append(found)
            else:
                problems.append(f"{path}:{number}: {found}")
    if problems:
        more = len(problems) - _PROBLEMS_TOLD
        raise InvalidInput(*problems[:_PROBLEMS_TOLD], *([f"{path}: {more} more lines like these"] if more > 0 else []))
    if not prompts:
        raise InvalidInput(f'{path}: holds no prompts; allowed: one JSON object a line, e.g. {{"prompt": "text"}}')
    return tuple(prompts)


def _prompt(line: str) -> FilePrompt | str:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return f"not JSON ({error.msg} at column {error.colno}); allowed: one object a line"
    if not isinstance(value, dict):
        return f'{_short(value)} is no object; allowed: {{"prompt": "text"}} or {{"messages": [...]}}'
    text = _text(value)
    if text is None:
        return f'{_short(value)} has no text; allowed: "prompt" (non-empty text) or "messages" with text contents'
    output = value.get("output_tokens")
    if output is not None and (isinstance(output, bool) or not isinstance(output, int) or output < 1):
        return f"output_tokens is {_short(output)}; allowed: a whole number from 1"
    return FilePrompt(text, output)


def _text(value: dict[str, object]) -> str | None:
    prompt, messages = value.get("prompt"), value.get("messages")
    if isinstance(prompt, str):
        return prompt or None
    if not isinstance(messages, list):
        return None
    contents = [message.get("content") if isinstance(message, dict) else None for message in messages]
    texts = [content for content in contents if isinstance(content, str)]
    return "\n\n".join(texts) or None if len(texts) == len(contents) else None


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
