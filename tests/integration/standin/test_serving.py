"""The stand-in answers as vLLM answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.standin.server import Server
from tuner.core.knob import Candidate
from tuner.engines import engine_named
from tuner.engines.vllm.metrics import samples

VLLM = engine_named("vllm")
WORDS = "about above across action after again against age air all along also always among animal another "


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    args = (
        "--max-model-len=2048",
        "--max_num_seqs=32",
        "--served-model-name",
        "sim",
        "other",
        "--gpu-memory-utilization=0.9",
    )
    with Server(args, {"TUNER_SIM_SPEED": "20"}) as running:
        yield running.wait_ready()


def events(server: Server, path: str, **body: Any) -> list[Any]:
    with server.http.stream("POST", path, json={"stream": True, **body}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = [line for line in response.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


def test_a_completion_streams_tokens_then_usage(server: Server) -> None:
    found = events(
        server,
        "/v1/completions",
        model="sim",
        prompt=WORDS,
        max_tokens=5,
        ignore_eos=True,
        stream_options={"include_usage": True},
    )
    assert len(found) == 6
    assert all(event["object"] == "text_completion" and event["model"] == "sim" for event in found)
    assert all(event["choices"][0]["text"].startswith(" t") for event in found[:-1])
    assert [event["choices"][0]["finish_reason"] for event in found[:-1]] == [None] * 4 + ["length"]
    assert found[-1]["choices"] == []
    assert found[-1]["usage"] == {"prompt_tokens": 18, "total_tokens": 23, "completion_tokens": 5}


def test_a_chat_names_the_role_before_any_token(server: Server) -> None:
    messages = [{"role": "user", "content": "hello there"}]
    found = events(server, "/v1/chat/completions", model="sim", messages=messages, max_tokens=3, ignore_eos=True)
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [event["object"] for event in found] == ["chat.completion.chunk"] * 4
    assert found[-1]["choices"][0]["finish_reason"] == "length"


def test_continuous_usage_counts_on(server: Server) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    found = events(server, "/v1/completions", prompt="a", max_tokens=3, ignore_eos=True, stream_options=options)
    assert [event["usage"]["completion_tokens"] for event in found] == [1, 2, 3, 3]


def test_an_answer_in_one_piece_with_log_probabilities(server: Server) -> None:
    body = {"model": "other", "prompt": [1, 2, 3], "max_tokens": 4, "ignore_eos": True, "logprobs": 1}
    answer = server.http.post("/v1/completions", json=body).json()
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 7, "completion_tokens": 4}
    assert len(answer["choices"][0]["logprobs"]["tokens"]) == 4
    assert answer["choices"][0]["logprobs"]["token_logprobs"][0] < 0
    again = server.http.post("/v1/completions", json=body).json()
    assert again["choices"] == answer["choices"]
    chat = {
        "messages": [{"role": "user", "content": "x"}],
        "max_completion_tokens": 2,
        "logprobs": True,
        "ignore_eos": True,
    }
    message = server.http.post("/v1/chat/completions", json=chat).json()
    assert len(message["choices"][0]["logprobs"]["content"]) == 2


def test_an_answer_may_end_by_itself(server: Server) -> None:
    reasons = {
        server.http.post("/v1/completions", json={"prompt": f"{n}", "max_tokens": 100}).json()["choices"][0][
            "finish_reason"
        ]
        for n in range(12)
    }
    assert reasons == {"stop", "length"}


def test_an_answer_is_cut_silently_at_the_end_of_the_context(server: Server) -> None:
    body = {"prompt": list(range(2000)), "max_tokens": 100, "ignore_eos": True}
    answer = server.http.post("/v1/completions", json=body).json()
    assert answer["usage"]["completion_tokens"] == 48
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("body", "status", "type_"),
    [
        ({"prompt": list(range(3000))}, 400, "BadRequestError"),
        ({"prompt": "a", "max_tokens": 0}, 400, "BadRequestError"),
        ({"prompt": "a", "model": "nobody"}, 404, "NotFoundError"),
        ({"prompt": ["a", "b"]}, 400, "BadRequestError"),
        ({"prompt": "a", "n": 2}, 400, "BadRequestError"),
        ([], 400, "BadRequestError"),
    ],
)
def test_bad_requests_are_refused_in_vllms_shape(server: Server, body: Any, status: int, type_: str) -> None:
    response = server.http.post("/v1/completions", json=body)
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["type"], error["code"]) == (type_, status)
    assert error["message"]


def test_the_model_and_the_version_are_told(server: Server) -> None:
    models = server.http.get("/v1/models").json()["data"]
    assert [model["id"] for model in models] == ["sim", "other"]
    assert models[0]["max_model_len"] == 2048
    assert server.http.get("/version").json() == {"version": "0.32.0"}


def test_log_and_metrics_say_what_runs_as_the_engine_module_reads_it(server: Server) -> None:
    facts = VLLM.facts(server.log, server.http.get("/metrics").text)
    assert facts.version == "0.32.0"
    assert facts.settings is not None
    asked = Candidate.of(max_num_seqs=32, gpu_memory_utilization=0.9, kv_cache_dtype="auto", enable_prefix_caching=True)
    assert {name: facts.settings[name] for name in asked} == dict(asked)
    assert VLLM.differs(asked, facts) == {}
    assert VLLM.differs(asked.with_(max_num_seqs=64), facts) == {"max_num_seqs": (64, 32)}
    assert facts.kv_cache_tokens is not None
    assert facts.kv_cache_tokens > 100_000
    terms = (facts.weights_gib, facts.activation_gib, facts.non_torch_gib, facts.graphs_gib, facts.kv_cache_gib)
    assert all(term is not None for term in terms)
    assert facts.total_gib is not None
    assert sum(term or 0.0 for term in terms) == pytest.approx(0.9 * facts.total_gib, abs=0.05)


def total(server: Server, name: str) -> float:
    return sum(sample.value for sample in samples(server.http.get("/metrics").text) if sample.name == name)


def test_counters_count_every_request_and_shared_prefixes_hit(server: Server) -> None:
    def counters() -> dict[str, float]:
        return dict(VLLM.counters(server.http.get("/metrics").text))

    before, written = counters(), total(server, "vllm:generation_tokens_total")
    prompt = WORDS * 8
    for _ in range(3):
        server.http.post("/v1/completions", json={"prompt": prompt, "max_tokens": 2, "ignore_eos": True})
    after = counters()
    assert after["requests"] - before["requests"] == 3
    assert total(server, "vllm:generation_tokens_total") - written == 6
    # 17 signs times 8 and a beginning are 129 tokens or more: eight whole blocks of 16 at least, found twice.
    assert after["prefix_hits"] - before["prefix_hits"] >= 2 * 8 * 16
    assert (after["running"], after["waiting"], after["kv_usage"]) == (0, 0, 0)


def test_a_client_that_leaves_frees_its_place(server: Server) -> None:
    body = {"prompt": "a", "max_tokens": 1500, "ignore_eos": True, "stream": True}
    before = VLLM.counters(server.http.get("/metrics").text)
    with server.http.stream("POST", "/v1/completions", json=body) as response:
        next(response.iter_lines())
    for _ in range(100):
        counters = VLLM.counters(server.http.get("/metrics").text)
        if counters["running"] == 0:
            break
    assert counters["running"] == 0
    assert counters["requests"] == before["requests"]


async def test_many_streams_at_once_all_get_all_their_tokens(server: Server) -> None:
    body = {
        "prompt": WORDS,
        "max_tokens": 20,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }

    async def one(http: httpx.AsyncClient) -> int:
        response = await http.post("/v1/completions", json=body)
        usage: int = json.loads(response.text.split("data: ")[-2])["usage"]["completion_tokens"]
        return usage

    async with httpx.AsyncClient(base_url=server.base, timeout=30, trust_env=False) as http:
        assert await asyncio.gather(*(one(http) for _ in range(64))) == [20] * 64


def test_real_time_is_the_simulated_time() -> None:
    """A lone request on an H100: about 7 ms a token at speed 1, and a tenth of that ten times as fast."""
    body = {"prompt": WORDS, "max_tokens": 60, "ignore_eos": True}
    seconds = []
    for speed in ("1", "4"):
        with Server(("--max-model-len=2048",), {"TUNER_SIM_SPEED": speed}) as running:
            running.wait_ready()
            running.http.post("/v1/completions", json=body)
            seconds.append(running.http.post("/v1/completions", json=body).elapsed.total_seconds())
    assert 60 * 5e-3 < seconds[0] < 60 * 12e-3
    assert seconds[1] == pytest.approx(seconds[0] / 4, rel=0.5)


def test_the_key_guards_the_api_and_nothing_else() -> None:
    with Server(("--api-key", "k1", "k2")) as running:
        running.wait_ready()
        assert running.http.get("/metrics").status_code == 200
        assert running.http.get("/v1/models").status_code == 401
        assert running.http.get("/v1/models", headers={"Authorization": "Bearer k2"}).status_code == 200
        assert "k1" not in running.log


def test_a_full_queue_is_answered_503() -> None:
    args = ("--max-num-seqs=1", "--max-num-queued-reqs=1", "--max-model-len=2048")
    body = {"prompt": "a", "max_tokens": 200, "ignore_eos": True}

    async def flood(base: str) -> list[int]:
        async with httpx.AsyncClient(base_url=base, timeout=30, trust_env=False) as http:
            answers = await asyncio.gather(*(http.post("/v1/completions", json=body) for _ in range(6)))
            return [answer.status_code for answer in answers]

    with Server(args, {"TUNER_SIM_SPEED": "4"}) as running:
        running.wait_ready()
        statuses = asyncio.run(flood(running.base))
        assert set(statuses) == {200, 503}
        assert total(running, "vllm:admission_rejections_total") == statuses.count(503)
