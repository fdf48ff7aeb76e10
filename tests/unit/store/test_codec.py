"""Core values survive being stored: whatever goes in comes out equal, and what JSON can't hold is refused."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.core.cause import Cause, Failure
from tuner.core.expected import Expected
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate
from tuner.core.measurement import (
    Answer,
    Goodput,
    Level,
    Measurement,
    SloTest,
    Statistic,
    Timeline,
    Verdict,
    WarmupRule,
    Window,
)
from tuner.core.serverside import Gauge, ServerView
from tuner.core.summary import Summary
from tuner.core.workload import Load
from tuner.store.codec import decode, encode

numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 10**9)
text = st.text(max_size=20)
values = st.booleans() | st.integers() | numbers | text
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
maybe = st.none() | numbers

candidates = st.dictionaries(names, values, max_size=6).map(Candidate.of)
failures = st.builds(
    Failure,
    st.sampled_from(Cause),
    text,
    text,
    overshoot=maybe,
    hint=st.none() | st.dictionaries(names, st.integers(), max_size=2),
)
loads = st.builds(Load, rate=numbers) | st.builds(Load, concurrency=counts)
tests = st.builds(SloTest, text, st.sampled_from(Answer), maybe, numbers, counts, counts, *[maybe] * 4)
statistics = st.builds(Statistic, counts, *[numbers] * 6)
series = st.lists(counts, max_size=3).map(tuple)
samples = st.lists(maybe, max_size=3).map(tuple)
windows = st.builds(Window, st.sampled_from(WarmupRule), counts, *[numbers] * 3, counts, counts, st.booleans())
timelines = st.builds(Timeline, numbers, *[series] * 5, *[samples] * 3)
views = st.builds(
    ServerView,
    counts,
    counts,
    st.dictionaries(names, numbers, max_size=3),
    st.dictionaries(names, st.builds(Gauge, *[maybe] * 4), max_size=3),
    *[maybe] * 3,
)
levels = st.builds(
    Level,
    load=loads,
    answer=st.sampled_from(Answer),
    tests=st.lists(tests, max_size=3).map(tuple),
    duration_s=numbers,
    requests=counts,
    errors=st.dictionaries(text, counts, max_size=2),
    request_rate=numbers,
    output_token_rate=numbers,
    total_token_rate=numbers,
    statistics=st.dictionaries(st.sampled_from(["ttft", "itl", "e2e"]), statistics),
    saturated=st.booleans(),
    foreign=st.none() | st.booleans(),
    preemptions=st.none() | counts,
    overload=numbers,
    steady=st.booleans(),
    goodput=st.none() | st.builds(Goodput, counts, numbers, numbers),
    quantiles=st.dictionaries(names, st.lists(numbers, max_size=3).map(tuple), max_size=2),
    window=st.none() | windows,
    timeline=st.none() | timelines,
    server=st.none() | views,
)
measurements = st.builds(Measurement, st.lists(levels, max_size=3).map(tuple), maybe, counts, maybe)
decided = st.builds(Measurement, st.lists(levels, min_size=1, max_size=3).map(tuple), maybe, st.just(-1), maybe)
expectations = st.builds(
    Expected,
    maybe,
    maybe,
    st.none() | counts,
    st.dictionaries(text, numbers, max_size=3),
    st.booleans(),
    st.none() | text,
)
verdicts = st.builds(Verdict, maybe, st.dictionaries(text, numbers, max_size=3), st.none() | failures, st.booleans())
settings_ = st.none() | st.dictionaries(names, values, max_size=3)
facts = st.builds(
    EngineFacts,
    engine=text,
    version=st.none() | text,
    settings=settings_,
    kv_cache_tokens=st.none() | counts,
    weights_gib=maybe,
)


@given(
    st.one_of(candidates, failures, loads, levels, measurements, decided.map(Summary.of), verdicts, facts, expectations)
)
@settings(max_examples=150, deadline=None)
def test_every_core_value_comes_back_equal_through_json(value: Any) -> None:
    text = json.dumps(encode(value), allow_nan=False)
    back = decode(type(value), json.loads(text))
    assert back == value
    assert type(back) is type(value)


@given(candidates)
@settings(max_examples=50, deadline=None)
def test_a_candidate_keeps_its_key_so_that_true_and_1_and_1_0_stay_three_values(candidate: Candidate) -> None:
    back = decode(Candidate, json.loads(json.dumps(encode(candidate))))
    assert back.key == candidate.key
    assert [type(v) for v in back.values()] == [type(v) for v in candidate.values()]


def test_enums_and_nested_values_get_their_types_back() -> None:
    verdict = Verdict(None, {"failure": 0.4}, Failure(Cause.KV_CACHE_TOO_SMALL, "too small", hint={"max_model_len": 8}))
    back = decode(Verdict, json.loads(json.dumps(encode(verdict))))
    assert isinstance(back.failure, Failure)
    assert back.failure.cause is Cause.KV_CACHE_TOO_SMALL


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_a_number_that_is_not_finite_is_refused_with_its_place(number: float) -> None:
    with pytest.raises(ValueError, match=r"violations\.ttft p95: .* finite"):
        encode(Verdict(1.0, {"ttft p95": number}))


def test_numpy_scalars_become_plain_numbers() -> None:
    encoded = encode(Verdict(np.float64(1.5), {"a": np.float32(0.5)}))
    assert encoded["value"] == 1.5
    assert type(encoded["value"]) is float
    assert type(encode({"n": np.int64(3)})["n"]) is int


def test_what_is_not_a_stored_type_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a\.b: object"):
        encode({"a": {"b": object()}})
    with pytest.raises(TypeError, match="key 1"):
        encode({1: 2})


def test_a_field_added_later_takes_its_default_in_old_text_and_a_field_of_later_is_ignored() -> None:
    assert decode(Failure, {"cause": "unknown", "message": "m", "of_the_future": 1}) == Failure(Cause.UNKNOWN, "m")


def test_a_level_stored_before_there_were_pictures_of_it_still_loads() -> None:
    old = """{"load": {"rate": 4.0, "concurrency": null}, "answer": "pass", "tests": [{"slo": "ttft p95 <= 500ms",
    "answer": "pass", "observed": 0.2, "violation": -0.6, "exceeding": 0, "count": 100, "low": 0.0, "high": 0.03}],
    "duration_s": 30.0, "requests": 100, "errors": {"timeout": 1}, "request_rate": 4.0, "output_token_rate": 512.0,
    "total_token_rate": 2048.0, "statistics": {"ttft": {"count": 100, "mean": 0.1, "p50": 0.1, "p90": 0.2, "p95": 0.2,
    "p99": 0.3, "max": 0.4}}, "saturated": false, "foreign": false, "preemptions": 2, "overload": 0.0,
    "steady": true}"""

    level = decode(Level, json.loads(old))

    assert level.statistics["ttft"].p95 == 0.2
    assert (level.goodput, level.quantiles, level.window, level.timeline, level.server) == (None, {}, None, None, None)
    assert (level.tests[0].observed_low, level.tests[0].observed_high) == (None, None)


def test_every_field_of_a_level_is_stored() -> None:
    level = Level(Load(rate=1.0), Answer.PASS, (), 1.0, 1, {}, 1.0, 1.0, 1.0, {})
    assert set(encode(level)) == {field.name for field in fields(Level)}
