"""`tuner probe` against the stand-in engine, and against servers that are not as they should be."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from tests.integration.probe.fake_openai import FakeOpenAI
from tests.integration.standin.server import Server
from tests.support.command_line import call, command, environment, signalled

# Two requests at a time: the capacity is some 20 requests/s, which is little work for those who measure it.
ENGINE = ("--max-num-seqs=2",)
SMALL = ("--prompt-tokens", "32", "--output-tokens", "16")


@pytest.fixture(scope="module")
def engine() -> Iterator[Server]:
    with Server(ENGINE) as server:
        server.wait_ready()
        yield server


def _json(*arguments: str) -> tuple[int | None, dict[str, Any]]:
    said = call("probe", *arguments, *SMALL, "-o", "json")
    assert said.err == "", said
    return said.code, json.loads(said.out)


def test_levels_are_measured_and_drawn(engine: Server, tmp_path: Path) -> None:
    picture = tmp_path / "probe.html"
    code, data = _json(
        engine.base, "--rate", "8,12", "--requests", "80", "--slo", "e2e p95 <= 5s", "--html", str(picture)
    )
    assert code == 0
    assert data["verdict"] == "pass"
    assert data["server"] == {"url": engine.base, "model": engine.model, "api": "completions"}
    assert [level["load"]["rate"] for level in data["levels"]] == [8.0, 12.0]
    for level in data["levels"]:
        assert level["recorded"] == 80
        assert level["errors"] == {}
        assert level["request_rate"] == pytest.approx(level["load"]["rate"], rel=0.35)
        assert 0 < level["statistics"]["ttft"]["p50"] < level["statistics"]["e2e"]["p50"] < 5
        assert level["timeline"]["output_tokens"]
        assert level["server"]["counters"]["requests"] >= 80
    drawn = picture.read_text(encoding="utf-8")
    Xml.fromstring(drawn)
    assert "<script" not in drawn


def test_a_level_for_people(engine: Server) -> None:
    said = call("probe", f"{engine.base}/v1", "--concurrency", "2", "--duration", "3s", *SMALL, "--api", "chat")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"measuring {engine.model} at {engine.base}\n")
    assert re.search(r"^load +concurrency 2 for 3 s$", said.out, re.MULTILINE)
    assert re.search(r"^TTFT( +[\d.]+ \w+){6}$", said.out, re.MULTILINE)
    assert "verdict" not in said.out


def test_an_slo_that_fails_is_exit_code_1(engine: Server) -> None:
    code, data = _json(engine.base, "--rate", "6", "--slo", "ttft p95 <= 1ms")
    assert (code, data["verdict"]) == (1, "fail")
    (level,) = data["levels"]
    assert level["margins"]["ttft p95 <= 1ms"] < 0
    assert level["recorded"] < 200  # certain early


def test_the_capacity_is_found(engine: Server) -> None:
    code, data = _json(engine.base, "--capacity", "--rate", "12", "--slo", "e2e p95 <= 1s", "--probe", "40s")
    assert (code, data["verdict"]) == (0, "pass")
    found = data["capacity"]
    assert 4 < found["proven_rate"] <= found["request_rate"] < 40
    assert data["probe_s"] < 60
    assert found["margins"]["e2e p95 <= 1s"] >= 0


def test_a_model_that_is_not_there_is_a_mistake_with_the_ones_that_are(engine: Server) -> None:
    said = call("probe", engine.base, "--rate", "5", "--model", "gpt-5")
    assert (said.code, said.out) == (2, "")
    assert said.err == f"tuner: --model: 'gpt-5' is not served at {engine.base}; allowed: {engine.model}\n"


def test_a_mistake_in_the_prompts_is_told_before_a_server_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "good"}\n{"question": "bad"}\n')
    said = call("probe", "http://127.0.0.1:9", "--rate", "1", "--prompts-file", str(file))  # nobody answers there
    assert said.code == 2
    assert f"{file}:2" in said.err


def test_an_engine_that_dies_is_a_failure_and_what_was_measured_is_told() -> None:
    dying = {"TUNER_SIM_FAIL": "crash-under-load", "TUNER_SIM_FAIL_AT": "8"}
    with Server(env=dying) as server:
        server.wait_ready()
        said = call("probe", server.base, "--concurrency", "2,30", "--requests", "60", *SMALL, "-o", "json")
    assert said.code == 1
    assert said.err.startswith("tuner: crash-under-load: the engine stopped serving under concurrency 30")
    data = json.loads(said.out)
    assert data["failure"]["cause"] == "crash-under-load"
    assert data["levels"][0]["load"]["concurrency"] == 2
    assert all(level["partial"] for level in data["levels"][1:])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_what_was_measured_so_far(engine: Server, tmp_path: Path, number: signal.Signals) -> None:
    picture = tmp_path / "probe.html"
    asked = ("probe", engine.base, "--rate", "10", "--duration", "10min", *SMALL, "--html", str(picture))
    said = signalled(number, "10 req/s: up to 6000 requests", *asked, home=tmp_path, after_s=4)
    assert said.code == 128 + number
    assert said.err == f"tuner: stopped by {number.name}; only what was measured until then is there\n"
    assert re.search(r"^load +10 req/s for \d+ s \(cut off\)$", said.out, re.MULTILINE)
    assert re.search(r"^TTFT( +[\d.]+ \w+){6}$", said.out, re.MULTILINE)
    assert f"stopped by {number.name} before its end" in picture.read_text()


def test_a_signal_during_the_warm_up_ends_it_with_nothing(tmp_path: Path) -> None:
    with Server(env={"TUNER_SIM_FAIL": "hang-under-load", "TUNER_SIM_FAIL_AT": "1"}) as server:
        server.wait_ready()
        asked = ("probe", server.base, "--rate", "5", *SMALL)
        said = signalled(signal.SIGINT, "warming up\n", *asked, home=tmp_path, after_s=1)
    assert said.code == 130
    assert "nothing was measured" in said.out


async def test_a_server_that_shows_nothing_of_itself_is_measured_all_the_same(tmp_path: Path) -> None:
    """No list of models, no counter of requests, no usage: as little as a gateway may have."""
    fake = FakeOpenAI(counts=False)
    async with fake.serving():
        running = await asyncio.create_subprocess_exec(
            *command("probe", fake.url, "--model", "no-usage", "--rate", "20", "--requests", "70", *SMALL),
            *("--header", "X-Team: search", "-o", "json"),
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(running.communicate(), 60)
    assert (running.returncode, err) == (0, b"")
    (level,) = json.loads(out)["levels"]
    assert level["errors"] == {}
    assert level["foreign"] is None
    assert level["statistics"]["itl"]["count"] > 100
