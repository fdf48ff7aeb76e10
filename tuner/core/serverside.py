"""What an engine showed of itself on /metrics while a level ran: as sampled, and what it came to.

Names are ours, whatever the engine calls them. Counters: requests (served to their end), preemptions, prompt_tokens,
output_tokens, prefix_queries and prefix_hits (tokens looked up and found in the prefix cache), drafts, draft_tokens and
accepted_tokens (speculation). Gauges: running and waiting (requests), kv_usage (a share), and where an engine shows no
counters for them prefix_hit_share, acceptance and accepted_length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServerSample:
    """One look at the metrics, `at_s` seconds after the level's start."""

    at_s: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ServerSamples:
    """All looks at the metrics for one level: before it, about once a second while it ran, and after it.

    `missed` looks got no answer in time.
    """

    before: Mapping[str, float]
    during: tuple[ServerSample, ...]
    after: Mapping[str, float]
    missed: int = 0


@dataclass(frozen=True)
class Gauge:
    """One gauge: before the level, over its samples, and once it was drained again. None: not shown then."""

    before: float | None = None
    mean: float | None = None
    max: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class ServerView:
    """What the samples of a level came to.

    `counters` are by how much each grew over the level. `prefix_hit_share` is found / looked-up prompt tokens,
    `acceptance` accepted / drafted tokens, `accepted_length` the mean tokens a verification step brought (1 + accepted
    tokens / drafts); None where the engine does not tell, or nothing was looked up or drafted.
    """

    samples: int = 0
    missed: int = 0
    counters: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, Gauge] = field(default_factory=dict)
    prefix_hit_share: float | None = None
    acceptance: float | None = None
    accepted_length: float | None = None
