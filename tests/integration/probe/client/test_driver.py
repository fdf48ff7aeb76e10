"""The HTTP driver against a real server on loopback."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from aiohttp import web

from tests.integration.probe.driving import driving, kinds, plan, run
from tests.integration.probe.fake_openai import FakeOpenAI, read_counters
from tuner.core.cause import Cause, TrialFailed
from tuner.core.errors import InvalidInput
from tuner.core.workload import Api
from tuner.probe import http_driver


@pytest.mark.parametrize("api", list(Api))
@pytest.mark.parametrize("model", ["good", "split", "no-usage"])
async def test_streams_are_read_to_the_last_token(api: Api, model: str) -> None:
    found = await run(model, api=api)

    assert kinds(found) == {}
    assert [record.planned.index for record in found.records] == list(range(24))
    for record in found.records:
        assert record.output_tokens == 8
        assert record.event_tokens == (1,) * 8
        assert record.ttft_s is not None
        # The role-only delta of a chat comes at once, the first token after 20 ms.
        assert record.ttft_s >= 0.02
        # The last comes 7 x 4 ms later, however late the first was read here: only their sum has a lower bound.
        assert record.ttft_s + sum(record.itl_s) >= (0.02 + 7 * 0.004) * 0.98
    if model != "no-usage":
        assert {record.prompt_tokens for record in found.records} == {22}


@pytest.mark.parametrize("api", list(Api))
async def test_a_chat_is_sent_as_it_is_where_chats_are_served(api: Api) -> None:
    server, chat = FakeOpenAI(), (("system", "be kind"), ("user", "hello"))
    asked = plan(1)
    asked = replace(asked, requests=(replace(asked.requests[0], text="be kind\n\nhello", messages=chat),))
    async with driving(server, "good", api=api) as driver:
        await driver.level(asked, lambda _: False)

    (body,) = server.bodies
    sent = {"prompt": "be kind\n\nhello"}
    if api is Api.CHAT:
        sent = {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]}
    assert {name: body.get(name) for name in ("prompt", "messages") if name in body} == sent


async def test_several_tokens_per_event_are_told_apart_from_events() -> None:
    found = await run("spec")

    assert {record.event_tokens for record in found.records} == {(4, 4)}
    assert {record.output_tokens for record in found.records} == {8}


async def test_the_request_asks_for_exactly_the_planned_work() -> None:
    server = FakeOpenAI()
    async with driving(server, "good") as driver:
        await driver.level(plan(1, tokens=6), lambda _: False)

    (body,) = server.bodies
    assert body == {
        "model": "good",
        "prompt": "one two three four five",
        "max_tokens": 6,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("missing", {"missing tokens": 24}),
        ("in-band", {"in-band error": 6}),
        ("busy", {"http 503": 8}),
        ("refuse", {"http 400": 24}),
        ("broken", {"disconnected": 4}),
    ],
)
async def test_work_that_was_not_done_is_an_error_of_its_kind(model: str, expected: dict[str, int]) -> None:
    assert kinds(await run(model)) == expected


async def test_errors_keep_the_servers_own_words() -> None:
    found = await run("refuse")

    assert found.records[0].error == "http 400: maximum context length is 8"


async def test_a_request_past_its_timeout_is_an_error() -> None:
    found = await run("stuck", plan(4, timeout_s=0.3))

    assert kinds(found) == {"timeout": 4}


async def test_requests_that_run_at_the_levels_end_are_unfinished_and_the_rest_is_never_sent() -> None:
    found = await run("stuck", plan(24, max_s=0.5))

    assert kinds(found) == {"unfinished": 8}
    assert found.sent == 8
    assert found.duration_s == pytest.approx(0.5, abs=0.2)


async def test_an_open_loop_sends_on_schedule_and_counts_from_there() -> None:
    found = await run("good", plan(60, rate=100))

    assert [record.scheduled_s for record in found.records] == [i / 100 for i in range(60)]
    assert all(record.sent_s >= record.scheduled_s for record in found.records)
    assert found.lag_p99_s < 0.1


async def test_a_closed_loop_never_runs_more_than_its_clients() -> None:
    found = await run("good", plan(30, concurrency=3))

    for record in found.records:
        others = [other for other in found.records if other.sent_s <= record.sent_s < other.end_s]
        assert len(others) <= 3


async def test_a_look_that_says_stop_ends_the_level_without_recording_what_was_cancelled() -> None:
    seen: list[int] = []
    server = FakeOpenAI()
    async with driving(server, "good") as driver:
        found = await driver.level(
            plan(200, looks=(10, 20, 30)), lambda records: seen.append(len(records)) or len(records) >= 20
        )
        assert server.running == 0  # drained
        again = await driver.level(plan(10), lambda _: False)

    assert seen == [10, 20]
    assert len(found.records) == 20
    assert kinds(found) == {}
    assert 20 <= found.sent <= 100
    assert len(again.records) == 10


async def test_the_engines_own_counters_are_compared_over_a_level() -> None:
    async with driving(FakeOpenAI(foreign=1), "good") as driver:
        found = await driver.level(plan(), lambda _: False)

    assert found.foreign == 24
    assert found.preemptions == 24


@pytest.mark.parametrize("model", ["good", "busy", "in-band", "missing", "broken"])
async def test_our_own_requests_are_not_taken_for_others(model: str) -> None:
    async with driving(FakeOpenAI(), model) as driver:
        assert (await driver.level(plan(), lambda _: False)).foreign == 0
        assert (await driver.level(plan(200, looks=(30,)), lambda _: True)).foreign == 0


async def test_what_we_cancel_or_the_engine_refuses_hides_nobody() -> None:
    # Every other request is far from its end when the level is stopped.
    short = plan(200, looks=(20,), concurrency=32)
    mixed = replace(short, requests=tuple(replace(r, output_tokens=8 + 392 * (r.index % 2)) for r in short.requests))
    # As many requests of others as ours: up to 16 of ours end in the very moment in which they are given up.
    async with driving(FakeOpenAI(foreign=1.0, step_s=0.05), "good") as driver:
        stopped = await driver.level(mixed, lambda _: True)
    async with driving(FakeOpenAI(foreign=0.2), "busy") as driver:
        refused = await driver.level(plan(48), lambda _: False)

    assert stopped.sent - len(stopped.records) >= 8
    assert stopped.foreign is not None
    assert stopped.foreign > 0
    assert refused.foreign == 6


async def test_an_engine_that_counts_nothing_can_not_show_foreign_traffic() -> None:
    async with driving(FakeOpenAI(counts=False), "good") as driver:
        assert (await driver.level(plan(), lambda _: False)).foreign is None


async def test_metrics_that_are_unreadable_once_are_read_again() -> None:
    async with driving(FakeOpenAI(deaf=1), "good") as driver:
        assert (await driver.level(plan(), lambda _: False)).foreign == 0


async def test_the_api_key_is_sent() -> None:
    async with driving(FakeOpenAI(key="secret"), "good", api_key="secret") as driver:
        assert kinds(await driver.level(plan(4), lambda _: False)) == {}
    async with driving(FakeOpenAI(key="secret"), "good") as driver:
        assert kinds(await driver.level(plan(4), lambda _: False)) == {"http 401": 4}


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"X Team": "a"}, "header 'X Team'"),
        ({"X-Team": "a\r\nHost: b"}, "header X-Team"),
        ({"X-Team": "\u20ac"}, "X-Team"),
        ({"content-Length": "5"}, "header content-Length: is said by tuner itself"),
    ],
)
def test_headers_that_can_not_be_sent_are_refused(headers: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        http_driver("http://127.0.0.1:9", "good", headers=headers, counters=read_counters)


async def test_a_header_of_ones_own_takes_the_place_of_ours() -> None:
    seen: list[list[str]] = []

    class Listening(FakeOpenAI):
        async def complete(self, request: web.Request) -> web.StreamResponse:
            seen.append([request.headers.getall(name)[0] for name in ("host", "content-type")])
            assert all(len(request.headers.getall(name)) == 1 for name in ("host", "content-type"))
            return await super().complete(request)

    async with Listening().serving() as server:
        headers = {"host": "llm.example.com", "content-type": "text/plain"}
        driver = http_driver(server.url, "good", headers=headers, counters=read_counters)
        try:
            found = await driver.level(plan(2), lambda _: False)
        finally:
            await driver.close()
    assert kinds(found) == {}
    assert seen == [["llm.example.com", "application/json"]] * 2


async def test_a_health_that_hangs_takes_no_time_of_the_level() -> None:
    class Hanging(FakeOpenAI):
        async def health(self, _: web.Request) -> web.Response:
            await asyncio.sleep(3600)
            raise AssertionError

    began = time.monotonic()
    async with driving(Hanging(), "broken") as driver:
        found = await driver.level(plan(60), lambda _: False)
    assert kinds(found) == {"disconnected": 12}
    assert time.monotonic() - began < 12  # the one question's 5 s among them


async def test_a_connection_that_the_server_has_just_closed_is_no_failure_of_a_request() -> None:
    class Closing(FakeOpenAI):
        async def complete(self, request: web.Request) -> web.StreamResponse:
            response = await super().complete(request)
            assert request.transport is not None
            request.transport.close()  # without a word before
            return response

    server = Closing()
    async with driving(server, "good") as driver:
        found = await driver.level(plan(100, concurrency=4), lambda _: False)
    assert kinds(found) == {}
    assert len(server.bodies) == 100


async def test_an_engine_that_dies_inside_streams_fails_the_trial_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(TrialFailed) as caught:
        await run("dead", plan(1000, rate=20))

    assert caught.value.failure.cause is Cause.CRASH_UNDER_LOAD
    assert "EngineCore encountered an issue" in caught.value.failure.evidence
    assert time.monotonic() - began < 10


async def test_a_server_that_goes_away_fails_the_trial_within_seconds() -> None:
    server = FakeOpenAI(step_s=0.05)
    async with driving(server, "good") as driver:
        level = asyncio.create_task(driver.level(plan(400, rate=20, tokens=40), lambda _: False))
        await asyncio.sleep(1.5)
        began = time.monotonic()
        await server.runner.cleanup()
        with pytest.raises(TrialFailed) as caught:
            await level

    assert caught.value.failure.cause is Cause.CRASH_UNDER_LOAD
    assert time.monotonic() - began < 5


async def test_nobody_listening_is_a_crash_not_a_measurement() -> None:
    driver = http_driver("http://127.0.0.1:9", "good", counters=read_counters)
    try:
        with pytest.raises(TrialFailed) as caught:
            await driver.level(plan(100), lambda _: False)
    finally:
        await driver.close()

    assert caught.value.failure.cause is Cause.CRASH_UNDER_LOAD


@pytest.mark.parametrize("api", list(Api))
async def test_greedy_outputs_come_with_the_first_log_probability(api: Api) -> None:
    server = FakeOpenAI()
    async with driving(server, "good", api=api) as driver:
        (output,) = await driver.greedy(("one two three",), 2)

    assert output.tokens == (" one", " two")
    assert output.first_logprob == -0.5
    assert server.bodies[0]["temperature"] == 0
