"""What requests are: synthetic prompts, the prompts of a file, or those of a recorded trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from tuner.core.request import Span
from tuner.core.workload import Lengths, Load, Workload
from tuner.probe.workload.conversations import Conversations
from tuner.probe.workload.dice import BLOCK, LENGTHS, ORDER, PREFIX, SHARE, WINDOW, Dice
from tuner.probe.workload.lengths import MOST_SIGMA, Drawn, lengths_of
from tuner.probe.workload.outline import Outline, Source, Written, above
from tuner.probe.workload.prompts import FilePrompt, part_of, read_prompts
from tuner.probe.workload.tokenizer import Tokenizer
from tuner.probe.workload.traces import BLOCK_TOKENS, Recorded, dispersion, gaps_of, read_trace

# English prose, where nothing better is known about a file's prompts.
_CHARACTERS_PER_TOKEN = 4.0
_LARGE = 0.99


@dataclass(frozen=True)
class Synthetic(Written):
    """Prompts of drawn lengths, some of them after a prefix that their group has in common.

    The first ones that have a prefix meet each group once, so that a warm-up of as many meets them all.
    """

    @property
    def mean_prompt_tokens(self) -> float:
        """Prefix and own tokens."""
        return self.workload.mean_prefix + self.lengths.mean_prompt

    @property
    def largest(self) -> tuple[int, int]:
        """Prefix and own tokens."""
        ((prompt, output),) = self.lengths.longest(1, _LARGE)
        return self.workload.shared_prefix + prompt, output

    def draw(self, n: int, dice: Dice, load: Load) -> list[Outline]:  # noqa: ARG002
        """Lengths by the pattern."""
        return self._outlines(self.lengths.draw(n, dice.pattern(LENGTHS)), dice, self._with_prefix(n, dice))

    def longest(self, n: int, quantile: float, dice: Dice) -> list[Outline]:
        """By the lengths; all with a prefix."""
        return self._outlines(self.lengths.longest(n, quantile), dice, [True] * n)

    def _outlines(self, lengths: Sequence[tuple[int, int]], dice: Dice, shares: Sequence[bool]) -> list[Outline]:
        groups = self.workload.prefix_groups
        drawn = iter([*range(groups), *dice.fresh(PREFIX).integers(0, groups, len(lengths))[groups:].tolist()])
        outlines = []
        for (prompt, output), shared in zip(lengths, shares, strict=True):
            prefix = (Span((0, PREFIX, next(drawn)), self.workload.shared_prefix),) if shared else ()
            outlines.append(Outline(prompt + sum(span.tokens for span in prefix), output, prefix))
        return outlines

    def _with_prefix(self, n: int, dice: Dice) -> list[bool]:
        """Which requests begin with a prefix: the same ones at every level."""
        if not self.workload.shared_prefix:
            return [False] * n
        shared: list[bool] = (dice.pattern(SHARE).random(n) < self.workload.prefix_share).tolist()
        return shared


@dataclass
class OwnPrompts:
    """The prompts of a file, in a shuffled order that goes on from level to level; repeated only when exhausted.

    `output` are the lengths of answers to prompts that say none. Without a `tokenizer` tokens are guessed, by the
    characters of English prose; a server tells them in the end.
    """

    prompts: tuple[FilePrompt, ...]
    output: Lengths
    tokenizer: Tokenizer | None = None
    _taken: int = field(default=0, init=False)
    synthetic: ClassVar[bool] = False

    @property
    def mean_prompt_tokens(self) -> float:
        """As counted."""
        return float(np.mean([self._tokens(prompt.text) for prompt in self.prompts]))

    @property
    def mean_output_tokens(self) -> float:
        """The file's own lengths, and the workload's where it has none."""
        return float(np.mean([prompt.output_tokens or self.output.mean for prompt in self.prompts]))

    @property
    def most_output_tokens(self) -> int:
        """The file's longest, or what lies three deviations above the workload's mean."""
        drawn = self.output.at(MOST_SIGMA)
        return max(prompt.output_tokens or drawn for prompt in self.prompts)

    @property
    def largest(self) -> tuple[int, int]:
        """The longest one, as far as it is certain: without a tokenizer a token for each word."""
        count = self.tokenizer.count if self.tokenizer else lambda text: len(text.split())
        return max(((count(one.text), one.output_tokens or self.output.mean) for one in self.prompts), key=sum)

    def draw(self, n: int, dice: Dice, load: Load) -> list[Outline]:  # noqa: ARG002
        """The next ones in order."""
        outputs = Drawn(self.output, self.output).draw(n, dice.pattern(LENGTHS))
        order = dice.known(ORDER).permutation(len(self.prompts))
        first, self._taken = self._taken, self._taken + n
        return [
            self._outline(self.prompts[order[(first + index) % len(self.prompts)]], output)
            for index, (_, output) in enumerate(outputs)
        ]

    def longest(self, n: int, quantile: float, dice: Dice) -> list[Outline]:  # noqa: ARG002
        """The longest texts, in turn."""
        ordered = sorted(self.prompts, key=lambda prompt: -len(prompt.text))
        keep = above(quantile, ordered)
        ((_, output),) = Drawn(self.output, self.output).longest(1, quantile)
        return [self._outline(keep[index % len(keep)], output) for index in range(n)]

    def _outline(self, prompt: FilePrompt, output: int) -> Outline:
        tokens, output = self._tokens(prompt.text), prompt.output_tokens or output
        return Outline(tokens, output, text=prompt.text, messages=prompt.messages)

    def _tokens(self, text: str) -> int:
        return max(1, self.tokenizer.count(text) if self.tokenizer else round(len(text) / _CHARACTERS_PER_TOKEN))


@dataclass(frozen=True)
class Trace:
    """Requests as they were recorded, from a place that the pattern chooses; after the last one comes the first.

    Their texts are written so that they have in common what the recorded ones had, within a level: its texts are its
    own, or each level would find its prompts in the prefix cache. So what a request shared with one before the level
    began is computed anew.
    """

    requests: tuple[Recorded, ...]
    synthetic: ClassVar[bool] = True

    @cached_property
    def mean_prompt_tokens(self) -> float:
        """Of the whole trace."""
        return float(np.mean([one.prompt_tokens for one in self.requests]))

    @cached_property
    def mean_output_tokens(self) -> float:
        """Of the whole trace."""
        return float(np.mean([one.output_tokens for one in self.requests]))

    @cached_property
    def most_output_tokens(self) -> int:
        """Of the whole trace."""
        return max(one.output_tokens for one in self.requests)

    @cached_property
    def largest(self) -> tuple[int, int]:
        """The longest recorded one."""
        return max(((one.prompt_tokens, one.output_tokens) for one in self.requests), key=sum)

    def draw(self, n: int, dice: Dice, load: Load) -> list[Outline]:  # noqa: ARG002
        """The next `n` from the pattern's place on."""
        return [self._outline(one, (dice.level, BLOCK, lap)) for lap, one in self._window(n, dice)]

    def longest(self, n: int, quantile: float, dice: Dice) -> list[Outline]:  # noqa: ARG002
        """The longest ones by all their tokens, in turn, as if they had nothing in common."""
        ordered = sorted(self.requests, key=lambda one: -(one.prompt_tokens + one.output_tokens))
        keep = above(quantile, ordered)
        return [Outline(one.prompt_tokens, one.output_tokens) for one in (keep[i % len(keep)] for i in range(n))]

    def gaps(self, n: int, dice: Dice) -> list[float]:
        """Seconds before each of the requests that `draw` gives."""
        begin = self._begin(dice)
        return [self._gaps[(begin + index) % len(self._gaps)] for index in range(n)]

    @cached_property
    def dispersion(self) -> float:
        """How much more its arrivals scatter than those of a Poisson process."""
        return dispersion(self.requests)

    @cached_property
    def _gaps(self) -> tuple[float, ...]:
        return gaps_of(self.requests)

    def _window(self, n: int, dice: Dice) -> list[tuple[int, Recorded]]:
        """The requests, and how many times the trace was over before each."""
        count, begin = len(self.requests), self._begin(dice)
        return [(place // count, self.requests[place % count]) for place in range(begin, begin + n)]

    def _begin(self, dice: Dice) -> int:
        return int(dice.pattern(WINDOW).integers(len(self.requests)))

    def _outline(self, one: Recorded, name: tuple[int, ...]) -> Outline:
        left = [one.prompt_tokens - BLOCK_TOKENS * place for place in range(len(one.blocks))]
        spans = (Span((*name, block), min(BLOCK_TOKENS, rest)) for block, rest in zip(one.blocks, left, strict=True))
        return Outline(one.prompt_tokens, one.output_tokens, tuple(spans))


def source_of(workload: Workload, tokenizer: Tokenizer | None) -> Source:
    """The source of a workload's requests; reads its file (InvalidInput where that can't be read)."""
    if workload.prompts_file is not None:
        prompts = part_of(read_prompts(workload.prompts_file), workload.part, workload.held_out)
        return OwnPrompts(prompts, workload.output, tokenizer)
    if workload.trace is not None:
        return Trace(read_trace(workload.trace, workload.longest))
    if workload.turns > 1:
        return Conversations(workload, lengths_of(workload))
    return Synthetic(workload, lengths_of(workload))
