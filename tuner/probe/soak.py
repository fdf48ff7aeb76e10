"""One last level before export: the longest requests of the workload, at full concurrency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tuner.core.measurement import Answer, Level
from tuner.core.request import Driver, PlannedRequest
from tuner.core.slo import Metric, Slo
from tuner.core.workload import Load, Objective, ObjectiveKind, Workload
from tuner.probe.job import Job, Limits
from tuner.probe.session import Session
from tuner.probe.verdict.level import LevelTest, Size
from tuner.probe.workload.requests import Requests

_NO_ERRORS = Slo(Metric.ERROR_RATE, "rate", 0.0)
_ROUNDS = 2
_QUANTILE = 0.99
# A full engine preempts, and computes again what it had: so many times as long as it took under its SLOs.
_SLOWER = 4.0
_LEAST_S, _COMMON_S = 60.0, 600.0


async def soak(
    driver: Driver,
    workload: Workload,
    concurrency: int,
    seed: int,
    *,
    kv_tokens: int | None = None,
    token_rate: float | None = None,
    rounds: int = _ROUNDS,
    max_s: float = math.inf,
) -> Level:
    """Keep `concurrency` of the workload's longest requests running, `rounds` times each, and tell how it went.

    They are fewer where the KV cache (`kv_tokens`) can't hold so many: one too many must be preempted, more would only
    wait. All lengths are the 99th percentile of the workload's distributions, or the longest of a file's prompts. It
    may take four times as long as its tokens take at `token_rate` a second, but no longer than `max_s`. The answer is
    PASS where every request did all its work, else FAIL; there is no warm-up and no SLO on latency. Raises TrialFailed
    where the engine stopped serving.
    """
    job = Job(workload, Objective(ObjectiveKind.THROUGHPUT, concurrency=concurrency), (), seed, limits=Limits())
    session = await Session.open(driver, job)
    concurrency = _crowd(session.requests.longest(1, _QUANTILE)[0], kv_tokens, concurrency)
    load = Load(concurrency=concurrency)
    requests = session.requests.longest(concurrency * max(1, rounds), _QUANTILE)
    limit_s = min(max_s, _patience_s(requests, token_rate))
    test = LevelTest(load, (_NO_ERRORS,), requests, Size(0, len(requests), limit_s, limit_s), precision=0.0)
    found = await driver.level(test.plan(), lambda _: False)
    level = test.level(found)
    if len(found.records) == len(requests) and all(record.ok for record in found.records):
        return _answered(level, Answer.PASS)
    return _answered(level, Answer.FAIL)


def longest_request(workload: Workload) -> tuple[int, int]:
    """Prompt and output tokens of what a soak sends, and of the longest where they can be told one by one."""
    return Requests.of(workload, 0, 0, with_text=False).source.largest


def _crowd(longest: PlannedRequest, kv_tokens: int | None, most: int) -> int:
    """One more such request than a KV cache holds to their ends; what their prompts have in common is there once."""
    if kv_tokens is None:
        return most
    own = longest.prompt_tokens - longest.prefix_tokens + longest.output_tokens
    return min(most, kv_tokens // max(1, own) + 1)


def _patience_s(requests: Sequence[PlannedRequest], token_rate: float | None) -> float:
    if not token_rate:
        return _COMMON_S
    tokens = sum(request.prompt_tokens + request.output_tokens for request in requests)
    return max(_LEAST_S, _SLOWER * tokens / token_rate)


def _answered(level: Level, answer: Answer) -> Level:
    return replace(level, answer=answer, tests=tuple(replace(test, answer=answer) for test in level.tests))
