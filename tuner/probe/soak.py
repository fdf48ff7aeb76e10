"""One last level before export: the longest requests of the workload, at full concurrency."""

from __future__ import annotations

from dataclasses import replace

from tuner.core.measurement import Answer, Level
from tuner.core.request import Driver
from tuner.core.slo import Metric, Slo
from tuner.core.workload import Load, Objective, ObjectiveKind, Workload
from tuner.probe.job import Job, Limits
from tuner.probe.level import LevelTest, Size
from tuner.probe.session import Session
from tuner.probe.workload import Requests

_NO_ERRORS = Slo(Metric.ERROR_RATE, "rate", 0.0)
_ROUNDS = 2
_QUANTILE = 0.99
_TIMEOUT_S = 600.0


async def soak(
    driver: Driver,
    workload: Workload,
    concurrency: int,
    seed: int,
    *,
    rounds: int = _ROUNDS,
    max_s: float = _TIMEOUT_S,
) -> Level:
    """Keep `concurrency` of the workload's longest requests running, `rounds` times each, and tell how it went.

    All lengths are the 99th percentile of the workload's distributions, or the longest of a file's prompts. The answer
    is PASS where every request did all its work, else FAIL; there is no warm-up and no SLO on latency. Raises
    TrialFailed where the engine stopped serving.
    """
    job = Job(workload, Objective(ObjectiveKind.THROUGHPUT, concurrency=concurrency), (), seed, limits=Limits())
    session = await Session.open(driver, job)
    load = Load(concurrency=concurrency)
    requests = session.requests.longest(concurrency * max(1, rounds), _QUANTILE)
    test = LevelTest(load, (_NO_ERRORS,), requests, Size(0, len(requests), max_s, max_s), precision=0.0)
    found = await driver.level(test.plan(), lambda _: False)
    level = test.level(found)
    if len(found.records) == len(requests) and all(record.ok for record in found.records):
        return _answered(level, Answer.PASS)
    return _answered(level, Answer.FAIL)


def longest_request(workload: Workload) -> tuple[int, int]:
    """Prompt and output tokens of what a soak sends, as far as they are certain: a file's words are a token at least."""
    requests = Requests.of(workload, 0, 0, with_text=False)
    if requests.file_prompts:
        lengths = ((len(one.text.split()), one.output_tokens or workload.output.mean) for one in requests.file_prompts)
        return max(lengths, key=sum)
    longest = requests.longest(1, _QUANTILE)[0]
    return longest.prompt_tokens, longest.output_tokens


def _answered(level: Level, answer: Answer) -> Level:
    return replace(level, answer=answer, tests=tuple(replace(test, answer=answer) for test in level.tests))
