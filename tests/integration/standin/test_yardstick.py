"""What a client can be measured by: told steps, stamps, and streams that do not disturb each other."""

from __future__ import annotations

import json
import re
import socket
import statistics
import time
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.integration.standin.server import Server

BODY = {"prompt": "a", "ignore_eos": True, "stream": True}


def events(server: Server, tokens: int) -> list[Any]:
    text = server.http.post("/v1/completions", json=BODY | {"max_tokens": tokens}).text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize(("args", "env"), [(("--sim-stamps",), {}), ((), {"TUNER_SIM_STAMPS": "1"})])
def test_stamps_are_of_the_clients_own_clock_and_in_order(args: tuple[str, ...], env: dict[str, str]) -> None:
    with Server(("--max-model-len=2048", "--sim-step-seconds=0.005", *args), env) as server:
        server.wait_ready()
        began = time.monotonic_ns()
        found = [event["sim"] for event in events(server, 20)]
        ended = time.monotonic_ns()
    assert len(found) == 20
    assert len({stamps["received_ns"] for stamps in found}) == 1
    times = [began, found[0]["received_ns"]]
    for stamps in found:
        times += [stamps["produced_ns"], stamps["sent_ns"]]
    assert [*times, ended] == sorted([*times, ended])


def test_there_are_no_stamps_unless_asked_for() -> None:
    with Server(("--max-model-len=2048",), {"TUNER_SIM_SPEED": "20"}) as server:
        assert not any("sim" in event for event in events(server.wait_ready(), 5))


def test_steps_take_what_they_are_told_whatever_they_do() -> None:
    flags = ("--max-model-len=8192", "--sim-step-seconds=0.02", "--sim-speed=7", "--sim-stamps")
    with Server(flags) as server:
        server.wait_ready()
        server.http.post("/v1/completions", json={"prompt": list(range(4000)), "max_tokens": 1, "ignore_eos": True})
        found = [event["sim"] for event in events(server, 40)]
    gaps = [after["produced_ns"] - before["produced_ns"] for before, after in pairwise(found)]
    assert statistics.median(gaps) == pytest.approx(20e6, abs=1e3)


def test_a_client_that_does_not_read_holds_up_nobody_and_gets_everything_later() -> None:
    tokens = 30_000
    request = json.dumps(BODY | {"max_tokens": tokens})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(request)}\r\n\r\n"
    with Server(("--max-model-len=32768", "--sim-step-seconds=1e-5")) as server, socket.socket() as slow:
        server.wait_ready()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall((head + request).encode())
        assert len(events(server, 500)) == 500
        wait_until_generated(server, tokens + 500)
        read = b""
        slow.settimeout(30)
        while more := slow.recv(1 << 20):
            read += more
    assert read.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert len(re.findall(rb" t\d", read)) == tokens
    # What the system's buffers did not take waited as tokens and came in one event, not in thousands.
    assert read.count(b'data: {"') < tokens


def wait_until_generated(server: Server, tokens: int) -> None:
    end = time.monotonic() + 60
    while f'model_name="meta-llama/Llama-3.1-8B-Instruct"}} {float(tokens)}' not in generation(server.http):
        assert time.monotonic() < end
        time.sleep(0.1)


def generation(http: httpx.Client) -> str:
    page = http.get("/metrics").text
    return next(line for line in page.splitlines() if line.startswith("vllm:generation_tokens_total{"))
