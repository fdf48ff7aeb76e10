"""What is sent: the requests of each level, drawn from a workload by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from tuner.core.request import PlannedRequest
from tuner.core.workload import Lengths, Load, Workload
from tuner.probe.arrivals import arrivals_of
from tuner.probe.prompts import Calibration, FilePrompt, random_text, read_prompts

# Streams of random numbers that must not be mixed, so that more of one never shifts another.
_LENGTHS, _ARRIVALS, _TEXT, _PREFIX, _ORDER = range(5)
# English prose, where nothing better is known about a file's prompts.
_CHARACTERS_PER_TOKEN = 4.0
_MOST_SIGMA = 3.0


@dataclass
class Requests:
    """Draws requests level by level.

    Lengths and arrival times follow one pattern, the same at every level and merely scaled to its rate, so that levels
    differ by load and not by luck. Texts are fresh at every level, so that no level profits from the prefix cache that
    another one filled. Shared prefixes stay: an engine in production has seen its system prompts before, and a short
    level would measure little but their first prefill. Prompts of a file are taken in a shuffled order that goes on
    from level to level, and are repeated only when the file is exhausted.
    """

    workload: Workload
    seed: int
    pattern_seed: int
    with_text: bool
    calibration: Calibration = field(default_factory=Calibration)
    file_prompts: tuple[FilePrompt, ...] = ()
    level: int = 0
    _taken: int = 0

    @classmethod
    def of(cls, workload: Workload, seed: int, pattern_seed: int, with_text: bool) -> Requests:
        """Requests of a workload; reads its JSONL file (InvalidInput where that can't be read)."""
        prompts = read_prompts(workload.prompts_file) if workload.prompts_file is not None else ()
        return cls(workload, seed, pattern_seed, with_text, file_prompts=prompts)

    @property
    def mean_output_tokens(self) -> float:
        """Expected output tokens of one request."""
        if not self.file_prompts:
            return float(self.workload.output.mean)
        return float(np.mean([prompt.output_tokens or self.workload.output.mean for prompt in self.file_prompts]))

    @property
    def most_output_tokens(self) -> int:
        """Output tokens of the longest request that there may be."""
        drawn = self.workload.output.at(_MOST_SIGMA)
        return max((prompt.output_tokens or drawn for prompt in self.file_prompts), default=drawn)

    def draw(self, load: Load, n: int) -> tuple[PlannedRequest, ...]:
        """The next level's `n` requests."""
        self.level += 1
        arrivals = arrivals_of(load).arrivals(n, self._pattern(_ARRIVALS))
        rng = self._pattern(_LENGTHS)
        # Drawn in pairs, so that a longer level begins with the same requests as a shorter one.
        normal = rng.standard_normal((n, 2))
        outputs = _lengths(self.workload.output, normal[:, 1])
        if self.file_prompts:
            return self._from_file(arrivals, outputs)
        return self._synthetic(arrivals, _lengths(self.workload.prompt, normal[:, 0]), outputs)

    def longest(self, n: int, quantile: float) -> tuple[PlannedRequest, ...]:
        """`n` requests for a closed loop, as long as this quantile of the workload's lengths (or of the file)."""
        self.level += 1
        arrivals = (None,) * n
        z = np.full(n, NormalDist().inv_cdf(quantile))
        outputs = _lengths(self.workload.output, z)
        if self.file_prompts:
            longest = sorted(self.file_prompts, key=lambda prompt: -len(prompt.text))
            keep = longest[: max(1, math.ceil(len(longest) * (1 - quantile)))]
            return tuple(self._file_request(index, None, keep[index % len(keep)], outputs[index]) for index in range(n))
        return self._synthetic(arrivals, _lengths(self.workload.prompt, z), outputs)

    def of_words(self, words: Sequence[int], output_tokens: int) -> tuple[PlannedRequest, ...]:
        """Requests of exactly these numbers of words, for calibration."""
        self.level += 1
        rng = self._rng(_TEXT)
        return tuple(
            PlannedRequest(index, count, output_tokens, text=random_text(count, rng))
            for index, count in enumerate(words)
        )

    def _synthetic(
        self, arrivals: Sequence[float | None], prompts: Sequence[int], outputs: Sequence[int]
    ) -> tuple[PlannedRequest, ...]:
        groups = self.workload.prefix_groups
        # Each group comes first once, so that a warm-up of as many requests meets them all.
        drawn = self._rng(_PREFIX).integers(0, groups, len(prompts))
        chosen = [*range(min(groups, len(prompts))), *drawn[groups:].tolist()]
        prefixes = {group: self._prefix(group) for group in set(chosen)}
        rng = self._rng(_TEXT)
        planned = []
        for index, (arrival, prompt, output) in enumerate(zip(arrivals, prompts, outputs, strict=True)):
            total = self.workload.shared_prefix + prompt
            text = self._text(prefixes[chosen[index]], total, rng) if self.with_text else None
            planned.append(
                PlannedRequest(index, total, output, arrival, chosen[index], self.workload.shared_prefix, text)
            )
        return tuple(planned)

    def _prefix(self, group: int) -> str:
        if not self.with_text or self.workload.shared_prefix == 0:
            return ""
        rng = np.random.default_rng([_positive(self.seed), 0, _PREFIX, group])  # no level has the number 0
        return random_text(self.calibration.words(self.workload.shared_prefix), rng)

    def _text(self, prefix: str, tokens: int, rng: np.random.Generator) -> str:
        own = random_text(self.calibration.own_words(tokens, len(prefix.split())), rng)
        return f"{prefix} {own}" if prefix else own

    def _from_file(self, arrivals: Sequence[float | None], outputs: Sequence[int]) -> tuple[PlannedRequest, ...]:
        count = len(self.file_prompts)
        order = np.random.default_rng([_positive(self.seed), _ORDER]).permutation(count)
        first, self._taken = self._taken, self._taken + len(arrivals)
        return tuple(
            self._file_request(index, arrival, self.file_prompts[order[(first + index) % count]], outputs[index])
            for index, arrival in enumerate(arrivals)
        )

    def _file_request(self, index: int, arrival: float | None, prompt: FilePrompt, output: int) -> PlannedRequest:
        tokens = max(1, round(len(prompt.text) / _CHARACTERS_PER_TOKEN))
        return PlannedRequest(
            index,
            tokens,
            prompt.output_tokens or output,
            arrival,
            self.level,
            text=prompt.text if self.with_text else None,
        )

    def _pattern(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([_positive(self.pattern_seed), stream])

    def _rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([_positive(self.seed), self.level, stream])


def _lengths(lengths: Lengths, normal: np.ndarray) -> list[int]:
    """Lengths by standard normal numbers, cut at three standard deviations."""
    return [lengths.at(z) for z in np.clip(normal, -_MOST_SIGMA, _MOST_SIGMA).tolist()]


def _positive(seed: int) -> int:
    # SeedSequence takes whole numbers from 0 only; distinct seeds stay distinct.
    return 2 * seed if seed >= 0 else -2 * seed - 1
