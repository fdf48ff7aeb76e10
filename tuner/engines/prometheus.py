"""Prometheus text, and an engine's metrics in it under our names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
#: The ranks of one model: each of them shows the same requests.
_RANKS = frozenset({"tp_rank", "pp_rank", "moe_ep_rank", "pid"})


@dataclass(frozen=True)
class Sample:
    """One line of Prometheus text."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(text: str) -> Iterator[Sample]:
    """The samples of Prometheus text; lines that are none are passed over."""
    for line in text.splitlines():
        match = _SAMPLE.fullmatch(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        labels = {
            key: re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), raw) for key, raw in _LABEL.findall(match[2] or "")
        }
        yield Sample(match[1], labels, value)


@dataclass(frozen=True)
class Names:
    """What an engine calls what we ask for: our name -> its names, newest first; the first one that is there counts.

    `sums` (counters, and gauges that count requests) are summed over labels, but not over the ranks that work on the
    same requests. Of `largest` (shares) the largest counts.
    """

    sums: Mapping[str, tuple[str, ...]]
    largest: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self, text: str) -> dict[str, float]:
        """What the text has of them. Requests that their client gave up are left out."""
        by_name = self._wanted(text)
        found: dict[str, float] = {}
        for ours, theirs in self.sums.items():
            seen = _first(by_name, theirs)
            if seen:
                found[ours] = sum(_once_a_model(seen).values())
        for ours, theirs in self.largest.items():
            seen = _first(by_name, theirs)
            if seen:
                found[ours] = max(sample.value for sample in seen)
        return found

    def _wanted(self, text: str) -> Mapping[str, list[Sample]]:
        """The samples by name. A page has hundreds of lines, most of them buckets, and is read every second."""
        names = {name for theirs in (*self.sums.values(), *self.largest.values()) for name in theirs}
        lines = [line for line in text.splitlines() if (name := _NAME.match(line)) and name[0] in names]
        by_name: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples("\n".join(lines)):
            if isfinite(sample.value) and sample.labels.get("finished_reason") != "abort":
                by_name[sample.name].append(sample)
        return by_name


def _first(by_name: Mapping[str, list[Sample]], names: tuple[str, ...]) -> list[Sample]:
    return next((by_name[name] for name in names if by_name.get(name)), [])


def _once_a_model(seen: list[Sample]) -> Mapping[frozenset[tuple[str, str]], float]:
    """The largest value of those that differ in their rank only."""
    found: dict[frozenset[tuple[str, str]], float] = {}
    for sample in seen:
        key = frozenset((name, value) for name, value in sample.labels.items() if name not in _RANKS)
        found[key] = max(sample.value, found.get(key, sample.value))
    return found
