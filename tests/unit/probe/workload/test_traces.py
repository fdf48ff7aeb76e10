"""Recorded traffic keeps its lengths, its times and what its prompts have in common."""

from __future__ import annotations

import json
import os
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from tests.unit.simulator.engines import scheduler
from tuner.core.errors import InvalidInput
from tuner.core.request import LevelPlan, PlannedRequest
from tuner.core.workload import Arrival, Load, Workload
from tuner.probe.workload.requests import Requests
from tuner.probe.workload.traces import Recorded, dispersion, gaps_of, read_trace
from tuner.simulator.run import LevelRun

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.4799600,3180,8

2023-11-16 18:17:06.9799600,110,27
"""
MOONCAKE = (
    {"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]},
    {"timestamp": 0, "input_length": 1024, "output_length": 6, "hash_ids": [0, 1]},
    {"timestamp": 3000, "input_length": 700, "output_length": 7, "hash_ids": [0, 3]},
    {"timestamp": 6000, "input_length": 600, "output_length": 8, "hash_ids": [4, 5]},
)


@pytest.fixture
def azure(tmp_path: Path) -> str:
    path = tmp_path / "azure.csv"
    path.write_text(AZURE)
    return str(path)


@pytest.fixture
def mooncake(tmp_path: Path) -> str:
    path = tmp_path / "mooncake.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in MOONCAKE))
    return str(path)


def drawn(path: str, n: int, load: Load, pattern_seed: int = 0) -> tuple[PlannedRequest, ...]:
    return Requests.of(Workload(trace=path, arrivals=Arrival.TRACE), 1, pattern_seed, True).draw(load, n)


def test_an_azure_trace_is_read(azure: str) -> None:
    found = read_trace(azure)
    assert [(one.prompt_tokens, one.output_tokens) for one in found] == [(4808, 10), (3180, 8), (110, 27)]
    assert [one.at_s for one in found] == pytest.approx([0, 0.5, 3])
    assert gaps_of(found) == pytest.approx((1.5, 0.5, 2.5))


def test_a_mooncake_trace_is_read(mooncake: str) -> None:
    found = read_trace(mooncake)
    assert found[0] == Recorded(0.0, 1100, 5, (0, 1, 2))
    assert [one.at_s for one in found] == [0, 0, 3, 6]


def test_requests_longer_than_wanted_are_left_out(azure: str) -> None:
    assert [one.prompt_tokens for one in read_trace(azure, longest=3188)] == [3180, 110]
    with pytest.raises(InvalidInput, match="holds 1 requests of at most 200 tokens; allowed: at least 2"):
        read_trace(azure, longest=200)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "trace:1: lacks the column TIMESTAMP and ContextTokens and GeneratedTokens; allowed"),
        ("TIMESTAMP,ContextTokens\n1,2\n", "trace:1: lacks the column GeneratedTokens; allowed: a first line with"),
        (AZURE + "soon,5,6\n", 'trace:6: TIMESTAMP is "soon"; allowed: a time, e.g. 2023-11-16'),
        (AZURE + "2023-11-16 18:17:03,0,6\n", "trace:6: ContextTokens is 0; allowed: a whole number from 1"),
        (AZURE + "2023-11-16 18:17:03,1\n", "trace:6: has 2 values; allowed: 3, as the first line says"),
        ("{\n", "trace:1: not JSON"),
        ('{"timestamp": 1, "input_length": 5}\n', "lacks output_length; allowed: an object with timestamp"),
        ('{"timestamp": "a", "input_length": 5, "output_length": 5}', 'timestamp is "a"; allowed: milliseconds'),
        ('{"timestamp": 1, "input_length": 5.5, "output_length": 5}', "input_length is 5.5; allowed: a whole number"),
        ('{"timestamp": 1, "input_length": 512, "output_length": 5, "hash_ids": [1, 2]}', "hash_ids is [1, 2]; "),
        ('{"timestamp": 1, "input_length": 512, "output_length": 5, "hash_ids": ["a"]}', 'hash_ids is ["a"]; allowed'),
        ('{"timestamp": 1, "input_length": 512, "output_length": 5}', "holds 1 requests; allowed: at least 2"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(InvalidInput) as refusal:
        read_trace(str(path))
    (problem,) = refusal.value.problems
    assert said in problem.replace(f"{tmp_path}/", "")


def test_lengths_and_times_are_kept_and_only_scaled(azure: str) -> None:
    planned = drawn(azure, 3, Load(rate=6))
    begin = [4808, 3180, 110].index(planned[0].prompt_tokens)
    lengths = [(4808, 10), (3180, 8), (110, 27)]
    assert [(r.prompt_tokens, r.output_tokens) for r in planned] == lengths[begin:] + lengths[:begin]
    gaps = np.diff([0.0, *(r.arrival_s for r in planned)])
    expected = np.roll([1.5, 0.5, 2.5], -begin)
    assert gaps == pytest.approx(expected * (3 / 6) / 4.5)
    assert {r.arrival_s for r in drawn(azure, 3, Load(concurrency=2))} == {None}


def test_a_pattern_is_a_place_in_the_trace_and_levels_share_it(azure: str) -> None:
    source = Requests.of(Workload(trace=azure, arrivals=Arrival.TRACE), 1, 0, True)
    one, two = source.draw(Load(rate=6), 30), source.draw(Load(rate=3), 9)
    assert [r.prompt_tokens for r in one[:9]] == [r.prompt_tokens for r in two]
    assert two[8].arrival_s == pytest.approx(9 / 3)
    assert not {r.text for r in one} & {r.text for r in two}
    assert len({drawn(azure, 3, Load(rate=6), seed)[0].prompt_tokens for seed in range(20)}) == 3


def test_other_arrivals_may_be_asked_of_a_trace(azure: str) -> None:
    planned = Requests.of(Workload(trace=azure, arrivals=Arrival.CONSTANT), 1, 0, False).draw(Load(rate=2), 3)
    assert [r.arrival_s for r in planned] == pytest.approx([0.5, 1.0, 1.5])


def from_the_beginning(path: str, text: bool) -> Requests:
    """The pattern that begins with the trace's first request."""
    found = (Requests.of(Workload(trace=path), 1, pattern, text) for pattern in range(100))
    return next(one for one in found if one.draw(Load(rate=1), 1)[0].prompt_tokens == 1100)


def common_words(one: PlannedRequest, two: PlannedRequest) -> int:
    pairs = zip(str(one.text).split(), str(two.text).split(), strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(one.prompt_tokens, two.prompt_tokens))


def test_equal_blocks_of_a_mooncake_trace_are_equal_text_within_a_level(mooncake: str) -> None:
    source = from_the_beginning(mooncake, text=True)
    first, second, third, fourth = source.draw(Load(rate=1), 4)
    assert [len(str(r.text).split()) for r in (first, second, third, fourth)] == [1100, 1024, 700, 600]
    assert common_words(first, second) == 1024
    assert 512 <= common_words(first, third) < 520
    assert common_words(first, fourth) < 8
    twice = source.draw(Load(rate=1), 8)
    assert common_words(first, twice[0]) < 8  # at another level
    # The trace begins anew: the same requests again, whose text nobody has met before.
    assert [r.prompt_tokens for r in twice[4:]] == [1100, 1024, 700, 600]
    assert common_words(twice[0], twice[4]) < 8
    assert common_words(twice[4], twice[5]) == 1024


def test_the_simulator_finds_what_requests_have_in_common(mooncake: str) -> None:
    requests = from_the_beginning(mooncake, text=False).draw(Load(concurrency=1), 4)
    engine = scheduler()
    plan = LevelPlan(Load(concurrency=1), requests, (), 1e9, 1e9)
    assert all(record.ok for record in LevelRun(engine, plan).run().records)
    # Of a prompt that was there before all but the last block, which is computed again for its output.
    assert engine.counters.prefix_hits == (1024 - engine.settings.block_size) + 512


def test_the_longest_requests_of_a_trace_are_told(mooncake: str) -> None:
    source = Requests.of(Workload(trace=mooncake), 1, 0, False)
    assert source.source.largest == (1100, 5)
    assert [r.prompt_tokens for r in source.longest(3, 0.5)] == [1100, 1024, 1100]
    assert {r.prefix_tokens for r in source.longest(3, 0.5)} == {0}
    assert (source.mean_output_tokens, source.most_output_tokens) == (6.5, 8)


def test_a_trace_with_bursts_scatters_more_than_poisson() -> None:
    rng = np.random.default_rng(1)
    even = [Recorded(at, 1, 1) for at in np.cumsum(rng.exponential(size=5000))]
    bursty = [Recorded(at, 1, 1) for at in np.cumsum(rng.gamma(0.1, size=5000))]
    assert dispersion(even) < 1.6
    assert dispersion(bursty) > 5
    assert dispersion(even[:60]) == 1


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "count", "prompt", "output"),
    [
        ("azure2023_code.csv", 8819, 2047.8, 27.9),
        ("azure2023_conv.csv", 19366, 1154.7, 211.1),
        ("mooncake_conversation.jsonl", 12031, 12035.1, 342.6),
    ],
)
def test_the_published_traces_are_read_whole(name: str, count: int, prompt: float, output: float) -> None:
    folder = os.environ.get("TUNER_REFERENCE_DATA")
    if folder is None:
        pytest.skip("needs TUNER_REFERENCE_DATA")
    found = read_trace(str(Path(folder) / "traces" / name))
    assert len(found) == count
    assert mean(one.prompt_tokens for one in found) == pytest.approx(prompt, abs=0.1)
    assert mean(one.output_tokens for one in found) == pytest.approx(output, abs=0.1)
    assert found[-1].at_s == pytest.approx(3500, abs=80)
