"""What is sent: the requests of each level, drawn from a workload by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.request import PlannedRequest, Span
from tuner.core.workload import Arrival, Load, Workload
from tuner.probe.workload.arrivals import Arrivals, arrivals_of
from tuner.probe.workload.conversations import Conversations
from tuner.probe.workload.dice import ARRIVALS, TEXT, Dice
from tuner.probe.workload.outline import Outline, Source
from tuner.probe.workload.prompts import WORDS, Calibration, random_words
from tuner.probe.workload.sources import Trace, source_of
from tuner.probe.workload.tokenizer import Tokenizer

_SAME_COUNT = 0.01  # what may be left of a slope of 1 where counts agree
_SPANS_KEPT = 256  # written texts; those of a long trace would fill the memory


@dataclass
class Requests:
    """Draws requests level by level.

    Lengths and arrival times follow one pattern, the same at every level and merely scaled to its rate, so that levels
    differ by load and not by luck. Texts are fresh at every level, so that no level profits from the prefix cache that
    another one filled. Shared prefixes stay: an engine in production has seen its system prompts before, and a short
    level would measure little but their first prefill. Prompts of a file are taken in a shuffled order that goes on
    from level to level, and are repeated only when the file is exhausted. What requests of a trace have in common is
    fresh at every level, too: it may be all of their text.
    """

    workload: Workload
    seed: int
    pattern_seed: int
    with_text: bool
    source: Source
    tokenizer: Tokenizer | None = None
    calibration: Calibration = field(default_factory=Calibration)
    level: int = 0

    @classmethod
    def of(cls, workload: Workload, seed: int, pattern_seed: int, with_text: bool) -> Requests:
        """Requests of a workload; reads its files (InvalidInput where they can't be read)."""
        tokenizer = Tokenizer.load(workload.tokenizer) if workload.tokenizer is not None else None
        found = cls(workload, seed, pattern_seed, with_text, source_of(workload, tokenizer), tokenizer)
        if found.source.synthetic:
            found._vocabulary  # noqa: B018 - a tokenizer that has too few words is told before anything is sent
        return found

    @property
    def mean_output_tokens(self) -> float:
        """Expected output tokens of one request."""
        return self.source.mean_output_tokens

    @property
    def most_output_tokens(self) -> int:
        """Output tokens of the longest request that there may be."""
        return self.source.most_output_tokens

    @property
    def dispersion(self) -> float:
        """The variance of how many requests arrive in a time of an open loop, relative to its mean; at least 1."""
        if self.workload.arrivals is Arrival.GAMMA:
            return max(1.0, 1 / self.workload.burstiness)
        replayed = self._replayed
        return replayed.dispersion if replayed else 1.0

    def opening(self, load: Load) -> int:
        """How many requests an open loop begins with whose conversations the engine has not met before."""
        return (
            self.workload.conversations(load) if isinstance(self.source, Conversations) and load.rate is not None else 0
        )

    def draw(self, load: Load, n: int) -> tuple[PlannedRequest, ...]:
        """The next level's `n` requests."""
        return self.spread(self._process(load, n), load, n)

    def spread(self, process: Arrivals, load: Load, n: int) -> tuple[PlannedRequest, ...]:
        """The next level's `n` requests, sent when `process` says: the stages of a single run, of `load` on average."""
        dice = self._next_level()
        return self._planned(self.source.draw(n, dice, load), process.arrivals(n, dice.pattern(ARRIVALS)), dice)

    def longest(self, n: int, quantile: float) -> tuple[PlannedRequest, ...]:
        """`n` requests for a closed loop, as long as this quantile of the workload's."""
        dice = self._next_level()
        return self._planned(self.source.longest(n, quantile, dice), (None,) * n, dice)

    def of_words(self, words: Sequence[int], output_tokens: int) -> tuple[PlannedRequest, ...]:
        """Requests of exactly these numbers of words, for calibration."""
        rng = self._next_level().fresh(TEXT)
        texts = [" ".join(random_words(count, rng, self._vocabulary)) for count in words]
        return tuple(
            PlannedRequest(index, count, output_tokens, text=text)
            for index, (count, text) in enumerate(zip(words, texts, strict=True))
        )

    def calibrate(self, samples: Sequence[tuple[int, int]]) -> None:
        """Learn from (words sent, prompt tokens that the server reported) how words become tokens there.

        A tokenizer knows that already, but for what the server adds to a prompt. Raises TrialFailed where it counts
        otherwise than the server: it is not the model's.
        """
        found = Calibration.fit(samples)
        if self.tokenizer is None:
            self.calibration = found
        elif abs(found.tokens_per_word - 1) <= _SAME_COUNT:
            self.calibration = Calibration(1.0, round(found.overhead))
        else:
            raise TrialFailed(
                Failure(
                    Cause.PROBE_ERROR,
                    f"workload.tokenizer: {self.tokenizer.path} is not the served model's: what is one token by it is "
                    f"{found.tokens_per_word:.3g} there",
                )
            )

    def _next_level(self) -> Dice:
        self.level += 1
        return Dice(self.seed, self.pattern_seed, self.level)

    def _process(self, load: Load, n: int) -> Arrivals:
        replayed = self._replayed
        gaps = replayed.gaps(n, Dice(self.seed, self.pattern_seed, self.level)) if replayed else ()
        return arrivals_of(load, self.workload, gaps)

    @property
    def _replayed(self) -> Trace | None:
        """The trace whose times are those of an open loop."""
        return self.source if self.workload.arrivals is Arrival.TRACE and isinstance(self.source, Trace) else None

    def _planned(
        self, outlines: Sequence[Outline], arrivals: Sequence[float | None], dice: Dice
    ) -> tuple[PlannedRequest, ...]:
        write = _Writer(dice, self.calibration, self._vocabulary) if self.with_text else None
        return tuple(
            PlannedRequest(
                index,
                outline.prompt_tokens,
                outline.output_tokens,
                arrival,
                outline.prefix,
                (outline.text or write.text(outline)) if write else None,
                outline.after,
                self.workload.think_s if outline.after is not None and arrival is not None else 0.0,
                outline.messages,
            )
            for index, (outline, arrival) in enumerate(zip(outlines, arrivals, strict=True))
        )

    @property
    def _vocabulary(self) -> Sequence[str]:
        return self.tokenizer.words if self.tokenizer else WORDS


class _Writer:
    """Writes the texts of one level: spans by their names, and after them what is fresh."""

    def __init__(self, dice: Dice, calibration: Calibration, vocabulary: Sequence[str]) -> None:
        self._dice, self._calibration, self._vocabulary = dice, calibration, vocabulary
        self._fresh = dice.fresh(TEXT)
        self._span = lru_cache(_SPANS_KEPT)(self._written)

    def text(self, outline: Outline) -> str:
        """A prompt of the outline's tokens, as near as the calibration knows; no longer where spans are all of it."""
        words = [word for span in outline.prefix for word in self._span(span)]
        wanted = self._calibration.words_of_prompt(outline.prompt_tokens)
        own = random_words(max(0, wanted - len(words)), self._fresh, self._vocabulary)
        return " ".join([*words[:wanted], *own])

    def _written(self, span: Span) -> list[str]:
        return random_words(self._calibration.words(span.tokens), self._dice.known(*span.id), self._vocabulary)
