"""The stand-in fails as vLLM fails: same words, same exit codes, and each named by the engine module."""

from __future__ import annotations

import json
import signal
import threading
import time

import httpx
import pytest

from tests.integration.standin.server import Server
from tuner.core.cause import Cause
from tuner.engines import engine_named
from tuner.engines.engine import Exit

VLLM = engine_named("vllm")


@pytest.mark.parametrize(
    ("args", "env", "code", "cause"),
    [
        (("--max-num-seqs=abc",), {}, 2, Cause.BAD_FLAG),
        (("--no-such-flag", "3"), {}, 2, Cause.BAD_FLAG),
        (("--num-speculative-tokens=5",), {}, 2, Cause.BAD_FLAG),
        (("--max-num-seqs=256", "--max-num-batched-tokens=128"), {}, 1, Cause.BAD_FLAG),
        (("--gpu-memory-utilization=1.5",), {}, 1, Cause.BAD_FLAG),
        (("--tensor-parallel-size=2",), {}, 1, Cause.BAD_FLAG),
        (("--gpu-memory-utilization=0.99",), {}, 1, Cause.GPU_OOM_AT_START),
        ((), {"TUNER_SIM_GPU": "L4"}, 1, Cause.KV_CACHE_TOO_SMALL),
        ((), {"TUNER_SIM_GPU": "T4"}, 1, Cause.GPU_OOM_AT_START),
        ((), {"TUNER_SIM_FAIL": "oom-at-start"}, 1, Cause.GPU_OOM_AT_START),
        ((), {"TUNER_SIM_FAIL": "crash-at-start"}, 1, Cause.CRASH_AT_START),
    ],
)
def test_a_failed_start_has_its_exit_code_and_its_cause(
    args: tuple[str, ...], env: dict[str, str], code: int, cause: Cause
) -> None:
    with Server(args, env) as server:
        assert server.exit_code() == code
        failure = VLLM.diagnose(server.log, Exit(code, "Error"), under_load=False)
        assert failure.cause is cause, server.log
        assert "initialization failed" not in failure.message


def test_a_cache_too_small_tells_the_length_that_fits_and_that_length_starts() -> None:
    with Server((), {"TUNER_SIM_GPU": "L4"}) as server:
        server.exit_code()
        failure = VLLM.diagnose(server.log, Exit(1, "Error"), under_load=False)
    assert failure.overshoot is not None
    assert failure.overshoot > 0
    assert failure.hint is not None
    for length in (str(failure.hint["max_model_len"]), "auto"):
        with Server((f"--max-model-len={length}",), {"TUNER_SIM_GPU": "L4"}) as server:
            assert server.wait_ready().http.get("/v1/models").json()["data"][0]["max_model_len"] > 1000


def test_an_unknown_model_can_not_be_found() -> None:
    with Server(model="org/no-such-model") as server:
        assert server.exit_code() == 1
        assert VLLM.diagnose(server.log, Exit(1), under_load=False).cause is Cause.IMAGE_OR_CONFIG


def test_a_port_in_use() -> None:
    with Server() as first:
        first.wait_ready()
        with Server((f"--port={first.port}",)) as second:
            assert second.exit_code() == 1
            failure = VLLM.diagnose(second.log, Exit(1), under_load=False)
            assert failure.cause is Cause.IMAGE_OR_CONFIG
            assert "Address already in use" in failure.message


def test_a_port_that_is_none_is_not_taken_for_another() -> None:
    with Server(("--port=99999",)) as server:
        assert server.exit_code() == 1
        assert "OverflowError: bind(): port must be 0-65535." in server.log


def test_bad_options_of_the_stand_in_are_told_together() -> None:
    with Server((), {"TUNER_SIM_GPU": "Z80", "TUNER_SIM_SPEED": "fast", "TUNER_SIM_FAIL": "often"}) as server:
        assert server.exit_code() == 2
        assert server.log.count("engine-sim: --sim-") == 3


def test_help_is_no_failure() -> None:
    with Server(("--help",)) as server:
        assert server.exit_code() == 0
        assert "--sim-fail FAILURE" in server.log


@pytest.mark.parametrize(
    ("fail", "cause"), [("oom-under-load", Cause.GPU_OOM_UNDER_LOAD), ("crash-under-load", Cause.CRASH_UNDER_LOAD)]
)
def test_an_engine_that_dies_under_load_says_so_in_its_streams_and_ends_with_code_0(fail: str, cause: Cause) -> None:
    body = {"prompt": "a", "max_tokens": 500, "ignore_eos": True, "stream": True}
    ends: list[str] = []

    def stream(base: str) -> None:
        with httpx.Client(trust_env=False, timeout=30) as http:
            ends.append(http.post(f"{base}/v1/completions", json=body).text)

    with Server(("--max-model-len=2048",), {"TUNER_SIM_FAIL": fail, "TUNER_SIM_FAIL_AT": "3"}) as server:
        server.wait_ready()
        threads = [threading.Thread(target=stream, args=(server.base,)) for _ in range(3)]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        for thread in threads:
            thread.join(20)
        assert server.exit_code() == 0
        log = server.log
    assert len(ends) == 3
    for end in ends:
        last = json.loads(end.strip().split("data: ")[-2])
        assert last["error"]["code"] == 500
        assert end.endswith("data: [DONE]\n\n")
    assert VLLM.diagnose(log, Exit(0, "Completed"), under_load=True).cause is cause


def test_loading_is_503_and_may_never_end() -> None:
    with Server((), {"TUNER_SIM_FAIL": "never-ready"}) as server:
        statuses = set()
        for _ in range(40):
            statuses.add(server.health())
            time.sleep(0.05)
        assert 503 in statuses
        assert 200 not in statuses
        assert server.http.get("/v1/models").status_code == 503


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("while_loading", [True, False])
def test_a_signal_ends_it_at_once_and_well(number: signal.Signals, while_loading: bool) -> None:
    with Server((), {"TUNER_SIM_START_SECONDS": "30" if while_loading else "0.1"}) as server:
        if while_loading:
            end = time.monotonic() + 20
            while server.health() != 503 and time.monotonic() < end:
                time.sleep(0.05)
        else:
            server.wait_ready()
        server.signal(number)
        began = time.monotonic()
        assert server.exit_code() == 0
        assert time.monotonic() - began < 2


def test_a_signal_ends_it_while_streams_run() -> None:
    with Server(("--max-model-len=4096",)) as server:
        server.wait_ready()
        body = {"prompt": "a", "max_tokens": 4000, "ignore_eos": True, "stream": True}
        with server.http.stream("POST", "/v1/completions", json=body) as response:
            next(response.iter_lines())
            server.signal(signal.SIGTERM)
            assert server.exit_code() == 0


def test_a_hanging_engine_streams_nothing_more() -> None:
    with Server(("--max-model-len=2048",), {"TUNER_SIM_FAIL": "hang-under-load", "TUNER_SIM_FAIL_AT": "1"}) as server:
        server.wait_ready()
        with pytest.raises(httpx.ReadTimeout):
            server.http.post("/v1/completions", json={"prompt": "a", "max_tokens": 4}, timeout=1.0)
        assert server.health() == 200
