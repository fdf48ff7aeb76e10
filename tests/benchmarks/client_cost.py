"""What streaming clients cost and how true they are, on one stub server: `python -m tests.benchmarks.client_cost`.

Ours (the load process, and the parent that parses what has arrived), the client of `vllm bench serve`, GuideLLM and
AIPerf, and for comparison two that only read bytes. About an hour on two cores, on which nothing else should run:
one is the stub's, the other the client's with all its processes. Other clients are installed under XDG_CACHE_HOME.

Cost: all streams at once; processor time of a run of 6 s less that of one of 1 s, so that starting, connecting and
summing up cancel (of 24 s where a client can only be run as a whole: its start takes as much as some seconds). Clean
rate: requests come and go evenly, and more and more of them, until the p99 of all tokens' lateness (arrival as told,
less the stub's stamp) passes 5 ms or the core is full. Errors: of requests that come evenly while all streams run; what
the client tells, less what the stub knows.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from tests.benchmarks.clients.peers import CLIENTS
from tests.benchmarks.clients.running import Client, Ran, Unavailable, run
from tests.benchmarks.clients.stamps import errors, lateness
from tests.benchmarks.ground import publish

T = TypeVar("T")

_SHORT_S = 1.0
_LATE_S = 0.005
_FULL = 0.98
# Of the search for the clean rate: streams, tokens a request, seconds held, relative resolution.
_STREAMS, _TOKENS, _HELD_S, _RESOLUTION = 128, 256, 4.0, 1.15
# Tokens/s: below it a request of the search takes half a minute.
_LEAST = 1000.0


@dataclass(frozen=True)
class Scene:
    """So many streams of so many tokens/s each: evenly spread over the interval, or in the steps of an engine."""

    streams: int
    tokens_per_s: int
    in_steps: bool = False

    def __str__(self) -> str:
        return f"{self.streams} x {self.tokens_per_s}/s" + (" in steps" if self.in_steps else "")

    @property
    def interval_s(self) -> float:
        """Between two tokens of a stream."""
        return 1 / self.tokens_per_s

    def run(self, client: Client, requests: int, tokens: int, rate: float | None) -> Ran:
        """One run: all requests at once, or `rate` a second."""
        return run(client, self.interval_s, 1 if self.in_steps else self.streams, requests, tokens, rate)


SCENES = (Scene(64, 100), Scene(64, 100, in_steps=True), Scene(512, 40))


def cost(client: Client, scene: Scene) -> dict[str, float]:
    """Microseconds of processor time per token: "all", and of the processes that the client tells apart."""
    lengths = [round(scene.tokens_per_s * seconds) for seconds in (_SHORT_S, client.long_s)]
    short, long = (scene.run(client, scene.streams, n, None) for n in lengths)
    spent = {"all": long.cpu_s - short.cpu_s} | {name: long.parts[name] - short.parts[name] for name in long.parts}
    return {name: seconds / scene.streams / (lengths[1] - lengths[0]) * 1e6 for name, seconds in spent.items()}


def error(client: Client, scene: Scene) -> dict[str, tuple[float, float]]:
    """p50 and p99 of the errors in milliseconds, of requests that came when all streams were running."""
    each_s = 2.0 if scene.streams <= 64 else 4.0
    rate = scene.streams / each_s
    requests = scene.streams + round(rate * (each_s + 4.0))
    ran = scene.run(client, requests, round(scene.tokens_per_s * each_s), rate)
    found = errors(ran.pairs[scene.streams :])
    figures = {"ttft": found.ttft_s, "scheduled": found.scheduled_ttft_s, "itl": found.itl_s}
    return {name: tuple(np.percentile(values, (50, 99)) * 1e3) for name, values in figures.items()}


@dataclass(frozen=True)
class CleanRate:
    """The highest clean rate found, in tokens/s; `at_least` where the stub could do no more, and the client might."""

    tokens_per_s: float
    at_least: bool

    def __str__(self) -> str:
        return ("≥ " if self.at_least else "") + f"{self.tokens_per_s:,.0f}"


@dataclass(frozen=True)
class Fault:
    """What was wrong with a run; `stub` where it may be the stub's fault."""

    words: str
    stub: bool = False


def clean_rate(client: Client, cost_us: float) -> CleanRate:
    """Search it from what the cost promises; 0 where nothing down to `_LEAST` is clean."""
    low, high, rate = 0.0, 0.0, 0.6e6 / cost_us
    stub = False
    while not (low and high and high / low <= _RESOLUTION) and rate >= _LEAST:
        fault = _fault(client, rate)
        print(f"{client.name}: {rate:.0f} tokens/s: {fault.words if fault else 'clean'}", file=sys.stderr)
        low, high, stub = (rate, high, stub) if fault is None else (low, rate, fault.stub)
        rate = (low * high) ** 0.5 if low and high else rate * (1.4 if fault is None else 1 / 1.4)
    return CleanRate(low, stub)


def _fault(client: Client, rate: float) -> Fault | None:
    """What is wrong with this rate, at the second try too: what else the machine does can only spoil a try."""
    requests = _STREAMS + round(rate / _TOKENS * _HELD_S)
    fault: Fault | None = None
    for _ in range(2):
        try:
            fault = _fault_of(run(client, _STREAMS / rate, _STREAMS, requests, _TOKENS, rate / _TOKENS))
        except ValueError as failed:
            fault = Fault(str(failed))
        if fault is None:
            break
    return fault


def _fault_of(ran: Ran) -> Fault | None:
    """What was wrong while all streams were there."""
    begin_s, end_s = ran.pairs[_STREAMS][0].received_s, ran.pairs[-1][0].received_s
    late_s = np.percentile(lateness(ran.pairs, begin_s, end_s), 99)
    busy = ran.busy(begin_s, end_s)
    stub_s = np.percentile(np.concatenate([stream.sent_s - stream.due_s for stream, _ in ran.pairs]), 99)
    words = f"lateness p99 {late_s * 1e3:.1f} ms, core {busy:.0%} busy; p99 of the stub's own {stub_s * 1e3:.1f} ms"
    if busy >= _FULL or (late_s > _LATE_S and stub_s <= _LATE_S):
        return Fault(words)
    # A stub that can't keep its times sends fewer tokens a second than this run was to show.
    return Fault(words, stub=True) if stub_s > _LATE_S else None


@dataclass
class Subject:
    """One client, what its runs said, and why some could not be made (of a scene, or None: of all)."""

    client: Client
    costs: dict[Scene, list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[Scene, list[dict[str, tuple[float, float]]]] = field(default_factory=lambda: defaultdict(list))
    clean: CleanRate | None = None
    failed: dict[Scene | None, str] = field(default_factory=dict)

    def attempt(self, scene: Scene | None, what: str, act: Callable[[], object]) -> None:
        """Do a step, unless one before it failed; say at once what it found, because the tables come late."""
        if self.why_not(scene) is not None:
            return
        began = f"{self.client.name}: {what} {scene or ''}"
        print(began, file=sys.stderr)
        try:
            found = act()
        except (Unavailable, ValueError) as failed:
            found = self.failed[scene] = " ".join(str(failed).split())
        if found is not None:
            print(f"{began}: {found}", file=sys.stderr)

    def repeat(self, scene: Scene) -> None:
        """One more measurement of cost and errors."""
        self.attempt(scene, "cost", lambda: _kept(self.costs[scene], cost(self.client, scene)))
        self.attempt(scene, "errors", lambda: _kept(self.errors[scene], error(self.client, scene)))

    def climb(self) -> CleanRate:
        """Find the clean rate, from the cost in the first scene upwards."""
        self.clean = clean_rate(self.client, self.cost_us(SCENES[0]))
        return self.clean

    def why_not(self, scene: Scene | None) -> str | None:
        """Why there is nothing to tell of a scene."""
        return self.failed.get(None, self.failed.get(scene))

    def cost_us(self, scene: Scene, part: str = "all") -> float:
        """Median of the repeats."""
        return statistics.median(spent[part] for spent in self.costs[scene])

    def told_us(self, scene: Scene, part: str = "all") -> str:
        """Median of the repeats, and their range."""
        spent = [one[part] for one in self.costs[scene]]
        return f"{statistics.median(spent):.1f} ({min(spent):.1f} to {max(spent):.1f})"

    def error_ms(self, scene: Scene, figure: str) -> str:
        """Medians of the p50 and of the p99 of the repeats, or why there are none."""
        if (reason := self.why_not(scene)) is not None:
            return f"none: {reason[:100]}"
        p50, p99 = (statistics.median(values) for values in zip(*(e[figure] for e in self.errors[scene]), strict=True))
        return f"{p50:.2f} / {p99:.2f}"


def _kept(found: list[T], one: T) -> T:
    found.append(one)
    return one


def cost_rows(subjects: Sequence[Subject], scenes: Sequence[Scene]) -> list[list[str]]:
    """Lines of the table of costs; ratios are to the first client's."""
    first, *_ = subjects
    rows = []
    for subject in subjects:
        told = [name for name in subject.costs[scenes[0]][0] if name != "all"] if subject.costs[scenes[0]] else []
        for part in ("all", *(told if len(told) > 1 else ())):
            row = [subject.client.name if part == "all" else f"of it, the {part}"]
            for scene in scenes:
                if (reason := subject.why_not(scene)) is not None:
                    row += [f"none: {reason[:100]}", ""]
                    continue
                here = subject.cost_us(scene, part)
                row += [
                    subject.told_us(scene, part),
                    "" if first.why_not(scene) else f"{here / first.cost_us(scene):.2f}",
                ]
            clean, best = subject.clean if part == "all" else None, first.clean
            ratio = f"{clean.tokens_per_s / best.tokens_per_s:.2f}" if clean and best and best.tokens_per_s else ""
            row += [str(clean) if clean else "", ratio]
            rows.append(row)
    return rows


def error_rows(subjects: Sequence[Subject], scenes: Sequence[Scene]) -> list[list[str]]:
    """Lines of the table of errors."""
    rows = []
    for subject in subjects:
        figures = [(subject.client.name, "ttft", "itl")]
        if subject.client.name == CLIENTS[0].name:
            figures.append(("the same, from the scheduled start", "scheduled", ""))
        for name, ttft, itl in figures:
            cells = [(subject.error_ms(scene, figure) if figure else "") for scene in scenes for figure in (ttft, itl)]
            rows.append([name, *cells])
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", nargs="*", choices=[c.name for c in CLIENTS], help="only these")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/results.md")
    parser.add_argument("--quick", action="store_true", help="one repeat of one scene, no clean rates")
    options = parser.parse_args(arguments)
    subjects = [Subject(client) for client in CLIENTS if client.name in (options.clients or [c.name for c in CLIENTS])]
    scenes = SCENES[:1] if options.quick else SCENES
    for subject in subjects:
        subject.attempt(None, "preparing", subject.client.prepare)
    for _, scene, subject in itertools.product(range(1 if options.quick else options.repeats), scenes, subjects):
        subject.repeat(scene)
    for subject in () if options.quick else subjects:
        subject.attempt(scenes[0], "clean rate", subject.climb)
    costs = ["client", *(text for scene in scenes for text in (f"µs per token, {scene}", "ratio"))]
    publish(
        "client cost",
        "What a streamed token costs on one core",
        [*costs, "clean tokens/s per core", "ratio"],
        cost_rows(subjects, scenes),
        write=options.write,
    )
    publish(
        "client errors",
        "Errors in ms, p50 / p99",
        ["client", *(f"{figure}, {scene}" for scene in scenes for figure in ("TTFT", "ITL"))],
        error_rows(subjects, scenes),
        write=options.write,
    )


if __name__ == "__main__":
    main()
