"""Conversations: requests that begin with all that was said before."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tuner.core.request import Span
from tuner.core.workload import Load
from tuner.probe.workload.dice import LENGTHS, PREFIX, SHARE, TURN, WINDOW, Dice
from tuner.probe.workload.outline import Outline, Written, above

_LARGE = 0.99
_SAMPLES = 2000


@dataclass(frozen=True)
class _Life:
    """What comes of one place of an open conversation: one after the other, each of so many turns.

    The first one is met at turn `begin`. `lengths` are of all turns, those before it among them; `groups` are the
    prefixes of the conversations (None: it has none).
    """

    begin: int
    lengths: list[tuple[int, int]]
    groups: list[int | None]


@dataclass(frozen=True)
class Conversations(Written):
    """Conversations of `workload.turns` turns each, several at a time; requests go to them in rotation.

    A turn's prompt is all that was said before and a new message. What the engine will answer is not known beforehand,
    so the answers in a prompt are made up, of the planned lengths: a prefix cache has the former prompt, but not the
    former answer, whose tokens are computed once more. An engine that keeps what it generated would do better with real
    conversations than it is measured here.

    In an open loop as many are open as requests come in the time that people take to read an answer and to think
    (`Workload.conversations`): then the next turn is due at its arrival time, and later only where the answer took
    longer. When a level begins they are in the midst of it, each at another turn, with a history that the engine has
    not met; these first requests are no part of what is measured. A closed loop's clients have one conversation each,
    and do not think.
    """

    @property
    def mean_prompt_tokens(self) -> float:
        """Of all turns."""
        history = (self.workload.turns - 1) / 2 * (self.lengths.mean_prompt + self.lengths.mean_output)
        return self.workload.mean_prefix + history + self.lengths.mean_prompt

    @property
    def largest(self) -> tuple[int, int]:
        """A last turn, and what it is an answer to, of the longest hundredth."""
        return self._last_turns(_LARGE)[0]

    def draw(self, n: int, dice: Dice, load: Load) -> list[Outline]:
        """The next turn of each open conversation, in rotation; one that is over makes room for a new one."""
        places = self.workload.conversations(load)
        lives = [self._life(place, math.ceil(n / places), dice) for place in range(min(places, n))]
        return [self._outline(lives[index % places], index, places, dice.level) for index in range(n)]

    def longest(self, n: int, quantile: float, dice: Dice) -> list[Outline]:  # noqa: ARG002
        """Last turns, longest first, as if they had nothing in common."""
        keep = self._last_turns(quantile)
        return [Outline(*keep[index % len(keep)]) for index in range(n)]

    def _life(self, place: int, visits: int, dice: Dice) -> _Life:
        turns = self.workload.turns
        begin = int(dice.pattern(WINDOW, place).integers(turns))
        lengths = self.lengths.draw(begin + visits, dice.pattern(LENGTHS, place))
        count = math.ceil((begin + visits) / turns)
        shared = dice.pattern(SHARE, place).random(count) < self.workload.prefix_share
        groups = [(place + one) % self.workload.prefix_groups if shared[one] else None for one in range(count)]
        return _Life(begin, lengths, groups)

    def _outline(self, life: _Life, index: int, places: int, level: int) -> Outline:
        now = life.begin + index // places
        conversation, turn = divmod(now, self.workload.turns)
        spans = tuple(self._spans(life, conversation, now, (level, TURN, index % places)))
        after = index - places if turn and index >= places else None
        tokens = sum(span.tokens for span in spans)
        return Outline(tokens, life.lengths[now][1], spans, after=after)

    def _spans(self, life: _Life, conversation: int, now: int, name: tuple[int, ...]) -> Iterator[Span]:
        """What a turn's prompt consists of: prefix, former messages and answers, and its own message."""
        group = life.groups[conversation]
        if group is not None and self.workload.shared_prefix:
            yield Span((0, PREFIX, group), self.workload.shared_prefix)
        for former in range(conversation * self.workload.turns, now):
            message, answer = life.lengths[former]
            yield Span((*name, former, 0), message)
            yield Span((*name, former, 1), answer)
        yield Span((*name, now, 0), life.lengths[now][0])

    def _last_turns(self, quantile: float) -> list[tuple[int, int]]:
        """Prompt and output of the longest last turns among many."""
        turns = self.workload.turns
        drawn = np.array(self.lengths.draw(_SAMPLES * turns, np.random.default_rng(0))).reshape(_SAMPLES, turns, 2)
        outputs = drawn[:, -1, 1]
        prompts = drawn.sum(axis=(1, 2)) - outputs + self.workload.shared_prefix
        keep = above(quantile, np.argsort(-(prompts + outputs), kind="stable").tolist())
        return [(int(prompts[one]), int(outputs[one])) for one in keep]
