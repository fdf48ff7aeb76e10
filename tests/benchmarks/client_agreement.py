"""Ours and `vllm bench serve` on the same real vLLM: `python -m tests.benchmarks.client_agreement`.

One engine on CPU, measured alternately by both, five times each: a closed loop of 8 clients with prompts and outputs of
fixed lengths, everything counted from the first request to the last. Two minutes on two idle cores; the engine's own
environment is made where it is not yet (tests/e2e/vllm/install).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from tests.benchmarks.ground import publish
from tests.e2e.support.engine import RealEngine, install
from tests.support.engines import free_port
from tuner.core.request import LevelPlan, RequestRecord
from tuner.core.workload import Lengths, Load, Objective, Workload
from tuner.engines.vllm import VLLM
from tuner.probe import Job, http_driver
from tuner.probe.session import Session

_NAME = "small"
_CLIENTS, _REQUESTS, _PROMPT, _OUTPUT = 8, 128, 128, 48
_REPEATS = 5
_START_S = 180.0
# What manifests/examples/vllm-cpu.yaml sets: the other core belongs to the API server and to whoever sends load.
_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
_FLAGS = (f"--served-model-name={_NAME}", "--max-model-len=2048", "--enforce-eager")


@dataclass(frozen=True)
class Seen:
    """What one client says of one run: output tokens/s, and medians in ms."""

    throughput: float
    ttft_ms: float
    itl_ms: float


@contextmanager
def serving(engine: RealEngine) -> Iterator[str]:
    """The URL of a vLLM that has started."""
    port = free_port()
    command = [engine.venv / "bin" / "vllm", "serve", engine.model(_NAME), f"--port={port}", *_FLAGS]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env={**os.environ, **_ENVIRONMENT}, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise RuntimeError(f"vLLM did not start within {_START_S:.0f} s (exit code {process.poll()})")


async def ours(url: str, seed: int) -> Seen:
    """One run of the probe."""
    driver = http_driver(url, _NAME, counters=VLLM.counters)
    try:
        job = Job(Workload(Lengths(_PROMPT), Lengths(_OUTPUT)), Objective(concurrency=_CLIENTS), (), seed)
        session = await Session.open(driver, job)
        load = Load(concurrency=_CLIENTS)
        plan = LevelPlan(load, session.requests.draw(load, _REQUESTS), (), 120, 600)
        records = (await driver.level(plan, lambda _: False)).records
    finally:
        await driver.close()
    return _seen(records)


def _seen(records: Sequence[RequestRecord]) -> Seen:
    if not all(record.ok for record in records):
        raise RuntimeError(f"requests failed: {[record.error for record in records if not record.ok][:3]}")
    span = max(record.end_s for record in records) - min(record.sent_s for record in records)
    return Seen(
        sum(record.output_tokens for record in records) / span,
        1e3 * float(np.median([record.ttft_s for record in records if record.ttft_s is not None])),
        1e3 * float(np.median([gap for record in records for gap in record.itl_s])),
    )


def theirs(engine: RealEngine, url: str, seed: int, folder: Path) -> Seen:
    """One run of `vllm bench serve`."""
    model = engine.model(_NAME)
    command = [
        *(engine.venv / "bin" / "vllm", "bench", "serve", "--backend", "openai", "--endpoint", "/v1/completions"),
        *("--base-url", url, "--model", _NAME, "--tokenizer", model, "--dataset-name", "random", "--ignore-eos"),
        *("--random-input-len", str(_PROMPT), "--random-output-len", str(_OUTPUT), "--num-prompts", str(_REQUESTS)),
        *("--max-concurrency", str(_CLIENTS), "--num-warmups", "12", "--seed", str(seed), "--disable-tqdm"),
        *("--save-result", "--result-dir", folder, "--result-filename", f"{seed}.json"),
    ]
    environment = {**os.environ, **_ENVIRONMENT}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"vllm bench serve failed: {done.stderr[-2000:]}")
    found = json.loads((folder / f"{seed}.json").read_text())
    if found["completed"] != _REQUESTS:
        raise RuntimeError(f"vllm bench serve completed {found['completed']} of {_REQUESTS} requests")
    return Seen(found["output_throughput"], found["median_ttft_ms"], found["median_itl_ms"])


def alternate(engine: RealEngine, url: str) -> list[tuple[Seen, Seen]]:
    """Pairs of (ours, theirs); who begins alternates too."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(_REPEATS):
            runs = {}
            for who in ("ours", "theirs") if repeat % 2 == 0 else ("theirs", "ours"):
                seed = 1000 * repeat + len(runs) + 1
                if who == "ours":
                    runs[who] = asyncio.run(ours(url, seed))
                else:
                    runs[who] = theirs(engine, url, seed, Path(folder))
            pairs.append((runs["ours"], runs["theirs"]))
    return pairs


def rows(pairs: Sequence[tuple[Seen, Seen]]) -> list[list[str]]:
    """One line a statistic: both medians, and the median and range of the ratios within pairs."""
    found = []
    for title, name in (("output tok/s", "throughput"), ("TTFT p50, ms", "ttft_ms"), ("ITL p50, ms", "itl_ms")):
        mine, other = ([getattr(pair[side], name) for pair in pairs] for side in (0, 1))
        ratios = [a / b for a, b in zip(mine, other, strict=True)]
        found.append(
            [
                title,
                f"{statistics.median(mine):.1f}",
                f"{statistics.median(other):.1f}",
                f"{statistics.median(ratios):.3f}",
                f"{min(ratios):.3f} to {max(ratios):.3f}",
            ]
        )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    options = parser.parse_args(arguments)
    engine = install()
    with serving(engine) as url:
        asyncio.run(ours(url, 0))  # the engine's first requests are slow
        pairs = alternate(engine, url)
    header = ["statistic", "ours", "vllm bench serve", "ours / theirs, median", "of five pairs"]
    publish("client agreement", "One vLLM on CPU, two clients", header, rows(pairs), write=options.write)


if __name__ == "__main__":
    main()
