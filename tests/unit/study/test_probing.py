"""The options of `tuner probe`: the same words as a study's, and every mistake told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tuner.core.errors import InvalidInput
from tuner.core.workload import Api, Lengths, Load
from tuner.probe.run import Extent
from tuner.probe.workload.arrivals import Stage, Stages
from tuner.study.probing import Probing, read_probing

URL = "http://10.0.0.5:8000"


def _read(**options: Any) -> Probing:
    return read_probing({"url": URL, **options})


def _problems(**options: Any) -> list[str]:
    with pytest.raises(InvalidInput) as refused:
        read_probing({"url": URL, **options})
    return list(refused.value.problems)


def test_levels_are_held_in_their_order() -> None:
    assert _read(rate="2, 8,4").loads == (Load(rate=2), Load(rate=8), Load(rate=4))
    assert _read(concurrency="16").loads == (Load(concurrency=16),)


def test_the_capacity_has_no_levels_of_its_own_and_may_begin_somewhere() -> None:
    asked = _read(capacity=True, rate="12.5")
    assert (asked.loads, asked.start_rate) == ((), 12.5)
    assert asked.job.objective.rate == 12.5
    assert asked.job.full
    assert _read(capacity=True).start_rate is None


def test_the_workload_is_that_of_a_study_s_options() -> None:
    asked = _read(rate="1", prompt_tokens="300", output_tokens="20", shared_prefix="64", api="chat", seed="7")
    assert (asked.workload.prompt, asked.workload.output) == (Lengths(300), Lengths(20))
    assert (asked.workload.shared_prefix, asked.workload.api, asked.seed) == (64, Api.CHAT, 7)


def test_every_run_has_texts_of_its_own_unless_a_seed_is_named() -> None:
    assert _read(rate="1").seed != _read(rate="1").seed
    assert _read(rate="1", seed="0").seed == 0


def test_without_an_slo_nothing_is_promised_but_a_capacity_needs_one_and_says_which() -> None:
    assert _read(rate="1").slos == ()
    assert _read(concurrency="4").slos == ()
    assert not any(one.startswith("slos") for one in _read(rate="1").assumed)
    asked = _read(capacity=True)
    assert [str(slo) for slo in asked.slos] == ["ttft p95 <= 1s", "itl p99 <= 100ms"]
    assert any(one.startswith("slos: ttft p95 <= 1s") for one in asked.assumed)


@pytest.mark.parametrize("load", [{"rate": "1"}, {"concurrency": "4"}, {"capacity": True}])
def test_every_promise_limits_how_many_requests_may_fail(load: dict[str, Any]) -> None:
    asked = _read(**load, slo=["itl p50 <= 40ms"])
    assert [str(slo) for slo in asked.slos] == ["itl p50 <= 40ms", "error rate <= 5%"]


def test_how_long_a_level_is_may_be_said() -> None:
    assert _read(rate="1").extent is None
    assert _read(rate="1", requests="500").extent == Extent(requests=500)
    assert _read(rate="1", duration="1min30s").extent == Extent(duration_s=90.0)


def test_a_rate_may_change_in_stages() -> None:
    asked = _read(stages="30s:2, 1min:2..8,10s:0..4")
    assert asked.extent == Extent(stages=Stages((Stage(30, 2), Stage(60, 2, 8), Stage(10, 0, 4))))
    assert asked.loads == (Load(rate=3.8),)  # on average
    assert asked.slos == ()


def test_headers_are_read_and_the_version_is_no_part_of_the_address() -> None:
    asked = _read(rate="1", url=f"{URL}/v1/", header=["X-Team: search ", "Authorization:Bearer a:b"])
    assert asked.headers == {"X-Team": "search", "Authorization": "Bearer a:b"}
    assert asked.endpoint == URL


def test_a_prompts_file_is_the_workload(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "hello"}\n')
    assert _read(rate="1", prompts_file=str(file)).workload.prompts_file == str(file)


def test_a_study_s_file_says_what_options_leave_open(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "target: {simulated: h100/llama-3.1-8b}\nworkload: {prompt: {mean: 400, cv: 0.5}, output: 30}\n"
        "slos: [e2e p95 <= 8s]\nobjective: {kind: throughput, concurrency: 64}\nseed: 3\n"
    )
    asked = _read(file=file, rate="2,4", output_tokens="50")
    assert (asked.workload.prompt, asked.workload.output) == (Lengths(400, 0.5), Lengths(50))
    assert [str(slo) for slo in asked.slos] == ["e2e p95 <= 8s"]
    assert (asked.loads, asked.seed, asked.endpoint) == ((Load(rate=2), Load(rate=4)), 3, URL)
    file.write_text("target: {simulated: h100/llama-3.1-8b}\n")
    assert _read(file=file, rate="2").slos == ()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rate": "1,2", "file": Path("-")}, "--file: - can be read once, which is not enough for several levels"),
        ({}, "say what to measure: --rate 5 or --rate 2,4,8"),
        ({"rate": "0"}, "--rate: objective.rate: 0 is too small; allowed: a number over 0 to 1000000"),
        ({"rate": "2,,4"}, "--rate: objective.rate: '' is not a number"),
        ({"rate": "fast"}, "--rate: objective.rate: 'fast' is not a number"),
        ({"concurrency": "1.5"}, "--concurrency: objective.concurrency: 1.5 is not a whole number"),
        ({"rate": "1", "concurrency": "4"}, "--concurrency: is given together with --rate; allowed: one of"),
        ({"capacity": True, "concurrency": "4"}, "--capacity: is given together with --concurrency"),
        ({"capacity": True, "rate": "1,2"}, "--rate: '1,2' is several; with --capacity it is where"),
        ({"capacity": True, "duration": "60s"}, "--duration: has no meaning for --capacity"),
        ({"rate": "1", "requests": "5", "duration": "60s"}, "--duration: is given together with --requests"),
        ({"stages": "30s:2", "rate": "1"}, "--stages: is given together with --rate"),
        ({"stages": "30:2"}, "--stages: '30:2' can't be read; allowed: DURATION:REQ/S or DURATION:REQ/S..REQ/S, e.g."),
        ({"stages": "30s:-1"}, "--stages: '30s:-1' can't be read"),
        ({"stages": "30s"}, "--stages: '30s' can't be read"),
        ({"stages": "30s:2", "requests": "9"}, "--requests: has no meaning for --stages, which say how long they last"),
        ({"rate": "1", "requests": "0"}, "--requests: 0 is too small; allowed: a whole number from 1 to 1000000"),
        ({"rate": "1", "duration": "60"}, "--duration: 60 has no unit; did you mean 60s or 60min?"),
        ({"rate": "1", "duration": "0s"}, "--duration: '0s' is too small; allowed: a time of 1s to 24h, e.g. 60s"),
        ({"rate": "1", "processes": "none"}, "--processes: 'none' is not a whole number; allowed: a whole number"),
        ({"rate": "1", "slo": ["ttft p95 <= 500"]}, "a latency needs a unit"),
        ({"rate": "1", "slo": ["itl p99 <= 9ms"], "output_tokens": "1"}, "by which 'itl p99 <= 9ms' can't be measured"),
        ({"rate": "1", "api": "grpc"}, "--api: workload.api: 'grpc' is not known"),
        ({"rate": "1", "url": "localhost:8000"}, "URL: 'localhost:8000' can't be used; allowed: a URL"),
        ({"rate": "1", "header": ["X-Secret"]}, "--header: number 1 is no header; allowed: NAME: VALUE"),
    ],
)
def test_what_can_not_be_is_refused_with_what_is_allowed(options: dict[str, Any], expected: str) -> None:
    assert any(expected in problem for problem in _problems(**options)), _problems(**options)


def test_a_level_that_does_not_fit_into_memory_is_refused() -> None:
    assert _problems(rate="2,50", duration="30min", prompt_tokens="8192") == [
        "90,000 requests of 8,192 prompt tokens each are too many for one level; allowed: 200,000,000 tokens "
        "in all, here 24,414 requests"
    ]
    assert "shared" not in _problems(stages="2h:500", shared_prefix="4000")[0]
    _read(rate="50", duration="30min")


def test_levels_take_no_longer_than_all_of_them_may() -> None:
    assert _problems(rate="1,2", duration="40s", probe="60s") == [
        "--probe: 60s is less than the 1 min 20 s that the levels take by themselves"
    ]
    assert _read(rate="1,2", duration="20min").limits.total_s == 1800  # which nobody has said


def test_stages_bend_no_times_of_a_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.0,374,44\n2023-11-16 18:15:47.0,9,8\n"
    )
    problems = _problems(stages="30s:2", trace=str(trace))
    assert problems == [
        "--stages: bend the times of arrivals, and a trace has its own; add --arrivals poisson, or leave them out"
    ]
    assert _read(stages="30s:2", trace=str(trace), arrivals="poisson").workload.trace == str(trace)


def test_all_mistakes_are_told_at_once_and_each_once() -> None:
    problems = _problems(rate="0,-1", seed="x", duration="soon", header=["secret"])
    assert len(problems) == len(set(problems)) == 5
    assert "secret" not in "".join(problems)
