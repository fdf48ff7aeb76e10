"""Conversations: a turn begins with all that was said before, and comes when the former one has ended."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.simulator.engines import scheduler
from tuner.core.request import LevelPlan, PlannedRequest
from tuner.core.workload import Lengths, Load, Workload
from tuner.probe.workload.requests import Requests
from tuner.simulator.run import LevelRun

TALK = Workload(Lengths(40, 0.5), Lengths(20, 0.5), turns=4, think_s=3.0)
OPEN, CLOSED = Load(rate=2.0), Load(concurrency=5)
AT_A_TIME = 10  # conversations in an open loop: 2/s * (3 s to think + 20 tokens at 10/s to read)


def drawn(load: Load, n: int = 200, workload: Workload = TALK, seed: int = 1) -> tuple[PlannedRequest, ...]:
    return Requests.of(workload, seed, 0, True).draw(load, n)


@pytest.mark.parametrize(("load", "places"), [(OPEN, AT_A_TIME), (CLOSED, 5)])
def test_requests_go_to_the_open_conversations_in_rotation(load: Load, places: int) -> None:
    requests = drawn(load)
    following = [one for one in requests if one.after is not None]
    assert {one.index - (one.after or 0) for one in following} == {places}
    # Of four turns three follow another; those that a level begins with are anywhere in their conversation.
    assert len(following) == pytest.approx(0.75 * (200 - places), abs=places)
    assert len({len(one.prefix) for one in requests[:places]}) > 1
    assert {one.think_s for one in following} == {3.0 if load is OPEN else 0.0}
    assert {one.think_s for one in requests if one.after is None} == {0.0}


def test_a_turn_begins_with_the_former_prompt_and_its_answer() -> None:
    requests = drawn(OPEN)
    for one in requests:
        assert one.prompt_tokens == one.prefix_tokens == len(str(one.text).split())
        if one.after is None:
            continue
        former = requests[one.after]
        assert one.prefix[: len(former.prefix)] == former.prefix
        answer, message = one.prefix[len(former.prefix) :]
        assert answer.tokens == former.output_tokens
        assert message.tokens == one.prompt_tokens - former.prompt_tokens - former.output_tokens
        assert str(one.text).startswith(str(former.text))
    assert {len(one.prefix) for one in requests} == {1, 3, 5, 7}


def test_levels_share_their_pattern_but_never_their_texts() -> None:
    source = Requests.of(TALK, 1, 0, True)
    one, two = source.draw(OPEN, 60), source.draw(OPEN, 60)
    assert [(r.arrival_s, r.prompt_tokens, r.output_tokens, r.after) for r in one] == [
        (r.arrival_s, r.prompt_tokens, r.output_tokens, r.after) for r in two
    ]
    assert not {r.text for r in one} & {r.text for r in two}
    assert not {span.id for r in one for span in r.prefix} & {span.id for r in two for span in r.prefix}


def test_conversations_may_begin_with_a_shared_prefix() -> None:
    requests = drawn(OPEN, workload=replace(TALK, shared_prefix=30, prefix_groups=3, prefix_share=0.5))
    shared = [one for one in requests if one.prefix[0].tokens == 30 and one.prefix[0].id[0] == 0]
    assert len({one.prefix[0].id for one in shared}) == 3
    assert len({" ".join(str(one.text).split()[:30]) for one in shared}) == 3
    assert 0.2 * len(requests) < len(shared) < 0.8 * len(requests)


def test_expected_lengths_are_those_that_are_drawn() -> None:
    source = Requests.of(replace(TALK, shared_prefix=30), 1, 0, False)
    requests = source.draw(OPEN, 4000)
    assert source.source.mean_prompt_tokens == 30 + 1.5 * 60 + 40
    assert np.mean([r.prompt_tokens for r in requests]) == pytest.approx(160, rel=0.05)
    assert np.mean([r.output_tokens for r in requests]) == pytest.approx(source.mean_output_tokens, rel=0.05)
    prompt, output = source.source.largest
    assert np.mean([r.prompt_tokens + r.output_tokens > prompt + output for r in requests]) < 0.01
    assert next((r.prompt_tokens, r.output_tokens) for r in source.longest(2, 0.99)) == (prompt, output)


def run(requests: tuple[PlannedRequest, ...], load: Load) -> LevelRun:
    engine = scheduler(kv_tokens=100_000)
    return LevelRun(engine, LevelPlan(load, requests, (), 1e9, 1e9))


@pytest.mark.parametrize("load", [OPEN, CLOSED, Load(rate=200.0)])
def test_a_turn_is_sent_when_the_former_one_has_ended_and_was_thought_about(load: Load) -> None:
    requests = drawn(load)
    records = run(requests, load).run().records
    assert [record.planned.index for record in records] == list(range(200))
    assert all(record.ok for record in records)
    for record in records:
        planned = record.planned
        ready_s = 0.0 if planned.after is None else records[planned.after].end_s + planned.think_s
        assert record.scheduled_s >= ready_s
        if load.rate is not None:
            assert record.scheduled_s == pytest.approx(max(planned.arrival_s or 0.0, ready_s))
    assert all(record.sent_s == record.scheduled_s for record in records)


def test_an_engine_that_keeps_up_is_sent_nearly_all_at_the_planned_time() -> None:
    records = run(drawn(OPEN), OPEN).run().records
    late = [record for record in records if record.scheduled_s > (record.planned.arrival_s or 0.0) + 1e-9]
    assert len(late) < 0.3 * len(records)
    assert records[-1].end_s < 200 / 2 + 5


def test_the_former_prompt_is_cached_and_the_answer_to_it_is_not() -> None:
    requests = drawn(Load(concurrency=1), 40, replace(TALK, prompt=Lengths(64), output=Lengths(32)))
    engine = scheduler(kv_tokens=100_000)
    LevelRun(engine, LevelPlan(Load(concurrency=1), requests, (), 1e9, 1e9)).run()
    block = engine.settings.block_size
    former = [requests[one.after].prompt_tokens for one in requests if one.after is not None]
    assert engine.counters.prefix_hits == sum(tokens // block * block for tokens in former)


def test_a_level_that_is_cut_off_leaves_out_the_turns_that_were_not_sent() -> None:
    engine = scheduler()
    requests = drawn(CLOSED)
    records = LevelRun(engine, LevelPlan(CLOSED, requests, (), 1e9, 0.5)).run()
    assert 0 < records.sent == len(records.records) < 200
    assert engine.idle
