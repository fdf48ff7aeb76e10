"""Recorded traffic: when requests came, how long they were, and what of their text they had in common.

Two formats are read: the Azure LLM inference trace (CSV with TIMESTAMP, ContextTokens and GeneratedTokens) and the
Mooncake trace (JSONL with timestamp in milliseconds, input_length, output_length and hash_ids).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np

from tuner.core.errors import InvalidInput
from tuner.probe.workload.reading import json_object, numbered_lines, parse_lines, parse_table, short, whole

#: Tokens of one block of text in a Mooncake trace.
BLOCK_TOKENS = 512
_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MOONCAKE = ("timestamp", "input_length", "output_length")
_ALLOWED = (
    f"an Azure trace (CSV with the columns {', '.join(_AZURE)}) or a Mooncake trace (JSONL with "
    f"{', '.join(_MOONCAKE)} and hash_ids)"
)
_WINDOW = 50  # arrivals over which those of a trace are compared with those of a Poisson process


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request of a trace: when it came (in seconds after the first), its tokens, and its text in blocks.

    Equal `blocks` are equal texts of BLOCK_TOKENS tokens each (the last one of a prompt is what is left of it); none
    where the trace does not tell.
    """

    at_s: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


def read_trace(path: str, longest: int | None = None) -> tuple[Recorded, ...]:
    """The requests of a trace in the order of their times, without those of more than `longest` tokens in all.

    Raises InvalidInput with file:line of up to ten mistakes, and for a trace of fewer than two requests.
    """
    lines = numbered_lines(path, _ALLOWED)
    if lines and lines[0][1].lstrip().startswith("{"):
        found = parse_lines(path, lines, _mooncake)
    else:
        found = parse_table(path, lines, _AZURE, _azure)
    kept = [one for one in found if longest is None or one.prompt_tokens + one.output_tokens <= longest]
    if len(kept) < 2:
        of = "" if longest is None else f" of at most {longest} tokens"
        raise InvalidInput(f"{path}: holds {len(kept)} requests{of}; allowed: at least 2, in {_ALLOWED}")
    kept.sort(key=lambda one: one.at_s)
    begin = kept[0].at_s
    return tuple(Recorded(one.at_s - begin, one.prompt_tokens, one.output_tokens, one.blocks) for one in kept)


def gaps_of(trace: Sequence[Recorded]) -> tuple[float, ...]:
    """Seconds before each request since the one before; before the first one, the mean: there the trace begins anew."""
    times = [one.at_s for one in trace]
    mean = times[-1] / (len(times) - 1)
    return (mean, *(later - earlier for earlier, later in pairwise(times)))


def dispersion(trace: Sequence[Recorded]) -> float:
    """How much more the arrivals of a trace scatter than those of a Poisson process (1: no more; never less).

    The variance of the number of arrivals in equal times, relative to its mean; in each time 50 arrive on average.
    """
    times = np.array([one.at_s for one in trace])
    windows = len(times) // _WINDOW
    if windows < 2 or times[-1] <= 0:
        return 1.0
    counts, _ = np.histogram(times, bins=windows)
    return max(1.0, float(counts.var() / counts.mean()))


def _mooncake(line: str) -> Recorded:
    allowed = f"an object with {', '.join(_MOONCAKE)} and hash_ids"
    value = json_object(line, allowed)
    missing = [name for name in _MOONCAKE if name not in value]
    if missing:
        raise ValueError(f"{short(value)} lacks {', '.join(missing)}; allowed: {allowed}")
    at = value["timestamp"]
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not math.isfinite(at):
        raise ValueError(f"timestamp is {short(at)}; allowed: milliseconds")
    tokens = whole("input_length", value["input_length"])
    blocks = _blocks(value.get("hash_ids", []), math.ceil(tokens / BLOCK_TOKENS))
    return Recorded(at / 1000, tokens, whole("output_length", value["output_length"]), blocks)


def _blocks(ids: Any, most: int) -> tuple[int, ...]:
    if not isinstance(ids, list) or not all(type(one) is int and one >= 0 for one in ids) or len(ids) > most:
        raise ValueError(
            f"hash_ids is {short(ids)}; allowed: a list of whole numbers from 0, one for each {BLOCK_TOKENS} tokens of "
            f"the prompt (here at most {most})"
        )
    return tuple(ids)


def _azure(row: Mapping[str, str]) -> Recorded:
    at, prompt, output = (row[name] for name in _AZURE)
    return Recorded(_seconds(at), whole(_AZURE[1], prompt), whole(_AZURE[2], output))


def _seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"TIMESTAMP is {short(text)}; allowed: a time, e.g. 2023-11-16 18:17:03.97996") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
