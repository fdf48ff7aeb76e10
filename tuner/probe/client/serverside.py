"""The server's own view of a level: its metrics before, about once a second during, and after it.

The looks are small requests of the probe's own process, beside the load. A server that answers them slowly is asked
less often, so that they take up a hundredth of the time, but once in five seconds at least: it may compute tokens in
the process that answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tuner.core.serverside import Gauge, ServerSample, ServerSamples, ServerView
from tuner.probe.client.control import Control

_PERIOD_S, _LONGEST_S = 1.0, 5.0
_PATIENCE_S = 1.0
_SHARE = 0.01
_COUNTERS = (
    "requests",
    "preemptions",
    "prompt_tokens",
    "output_tokens",
    "prefix_queries",
    "prefix_hits",
    "drafts",
    "draft_tokens",
    "accepted_tokens",
)


@dataclass
class Sampling:
    """What was seen of one level so far; `before` is what was seen when it began."""

    before: Mapping[str, float]
    during: list[ServerSample] = field(default_factory=list)
    missed: int = 0

    def samples(self, after: Mapping[str, float]) -> ServerSamples | None:
        """All looks at the level, the last one being `after`; None where the server showed nothing at its ends."""
        if not self.before or not after:
            return None
        return ServerSamples(self.before, tuple(self.during), after, self.missed)

    async def run(self, control: Control) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        start, pause_s = loop.time(), _PERIOD_S
        while True:
            await asyncio.sleep(pause_s)
            asked = loop.time()
            values = await control.look(_PATIENCE_S)
            pause_s = pause_after(loop.time() - asked)
            if values:
                self.during.append(ServerSample(loop.time() - start, values))
            else:
                self.missed += 1


def pause_after(took_s: float) -> float:
    """Seconds to wait after a look that took so long."""
    return max(0.0, min(max(_PERIOD_S, took_s / _SHARE), _LONGEST_S) - took_s)


@contextlib.asynccontextmanager
async def sampled(control: Control, before: Mapping[str, float]) -> AsyncIterator[Sampling]:
    """Look at the server while the block runs. Not at all where it showed nothing `before`."""
    sampling = Sampling(before)
    task = asyncio.create_task(sampling.run(control)) if before else None
    try:
        yield sampling
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


def view_of(seen: ServerSamples) -> ServerView:
    """What the samples of a level came to."""
    grown = {
        name: seen.after[name] - seen.before[name] for name in _COUNTERS if name in seen.before and name in seen.after
    }
    names = dict.fromkeys(name for values in _all(seen) for name in values if name not in _COUNTERS)
    gauges = {name: _gauge(name, seen) for name in names}
    drafts = grown.get("drafts", 0.0)
    return ServerView(
        samples=len(seen.during),
        missed=seen.missed,
        counters=grown,
        gauges=gauges,
        prefix_hit_share=_share("prefix_hits", "prefix_queries", grown, gauges.get("prefix_hit_share")),
        acceptance=_share("accepted_tokens", "draft_tokens", grown, gauges.get("acceptance")),
        accepted_length=1 + grown["accepted_tokens"] / drafts
        if drafts > 0 and "accepted_tokens" in grown
        else _mean(gauges.get("accepted_length")),
    )


def _all(seen: ServerSamples) -> Iterable[Mapping[str, float]]:
    return (seen.before, *(sample.values for sample in seen.during), seen.after)


def _gauge(name: str, seen: ServerSamples) -> Gauge:
    values = [sample.values[name] for sample in seen.during if name in sample.values]
    return Gauge(
        before=seen.before.get(name),
        mean=float(np.mean(values)) if values else None,
        max=max(values, default=None),
        after=seen.after.get(name),
    )


def _share(part: str, whole: str, grown: Mapping[str, float], shown: Gauge | None) -> float | None:
    """By counters where there are such, else the mean of what the engine shows."""
    if part in grown and whole in grown:
        return grown[part] / grown[whole] if grown[whole] > 0 else None
    return _mean(shown)


def _mean(gauge: Gauge | None) -> float | None:
    return gauge.mean if gauge is not None else None
