"""One whole study on the real vLLM: killed twice, resumed, confirmed, exported, applied, and nothing else changed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support.command import Point, Tuner
from tests.e2e.support.deployment import Deployed, container
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.ownership import assert_untouched
from tuner.core.measurement import Level
from tuner.core.slo import parse_slo
from tuner.core.workload import Lengths, Objective, ObjectiveKind, Workload
from tuner.engines import engine_named
from tuner.probe import Job, Limits, http_driver, measure
from tuner.store import Phase, Store, TrialKind

pytestmark = [pytest.mark.cluster, pytest.mark.engine]

PROMPT, OUTPUT = 256, 16
# vLLM's default puts up to 2048 prompt tokens into one step, for which everyone else's next token waits: on two CPUs
# about 300 ms. So the default keeps this promise at small rates only, and short steps at far higher ones.
STUDY = f"""
workload: {{prompt: {PROMPT}, output: {OUTPUT}}}
slos: [ttft p95 <= 1500ms, itl p95 <= 60ms]
objective: {{kind: capacity, rate: 4}}
search:
  knobs:
    max_num_seqs: {{low: 8, high: 128}}
    max_num_batched_tokens: {{low: 64, high: 2048}}
    gpu_memory_utilization: {{low: 0.5, high: 0.6}}
    enable_prefix_caching: drop
    enable_chunked_prefill: drop
    block_size: drop
budget: {{starts: 7, pairs: 2, smallest_gain: 10%, level: 10s, probe: 60s}}
rollout_deadline: 3min
seed: 1
"""
# While the baseline is under load, and once the first candidate has been written into the Deployment.
KILLS = (Point("after", "commit enter_phase probing"), Point("after", "PATCH deployments start"))


def test_a_study_finds_what_the_default_misses_and_leaves_nothing_behind(
    deploy_vllm: Callable[..., Deployed], kubectl: Kubectl, tuner: Tuner, tmp_path: Path
) -> None:
    engine = deploy_vllm()
    engine.wait_until_ready()
    before = engine.get()
    (tmp_path / "study.yaml").write_text(STUDY)
    start = ("start", "-n", kubectl.namespace, "-f", str(tmp_path / "study.yaml"), "--yes", "-o", "json")
    for kill in KILLS:
        assert tuner.run(*start, kill=kill, timeout_s=300).killed
    report = json.loads(tuner.run(*start, timeout_s=1200).succeeded().out)
    print(
        json.dumps({key: report[key] for key in ("conclusion", "summary", "starts", "gpu_minutes", "result")}, indent=1)
    )

    engine.wait_until_ready()
    assert_untouched(before, engine.get())
    _assert_nothing_lost_or_repeated(tuner)
    assert report["conclusion"] in ("better", "meets the SLOs, the current configuration does not")
    winner = report["result"]["finalist"]
    assert winner["max_num_batched_tokens"] < 2048
    assert "gpu_memory_utilization" in report["result"]["ineffective"]

    patch = tmp_path / "winner.yaml"
    patch.write_text(tuner.run("export", "-o", "strategic-merge").succeeded().out)
    rate = _confirmed_rate(report)
    default = asyncio.run(_level(engine, rate))
    kubectl("patch", "deployment", engine.name, "--patch-file", str(patch))
    engine.wait_until_ready()
    assert f"--max-num-batched-tokens={winner['max_num_batched_tokens']}" in container(engine.get())["args"]
    patched = asyncio.run(_level(engine, rate))
    # What the export promises, against what the default does at the same rate.
    assert _itl_p95(patched) < 0.060 < _itl_p95(default)


def _assert_nothing_lost_or_repeated(tuner: Tuner) -> None:
    with Store.open(f"sqlite:///{tuner.folder / 'data' / 'tuner' / 'tuner.db'}") as store:
        (study,) = store.studies()
        trials = store.trials(study.id)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert all(trial.phase is Phase.TOLD for trial in trials)
    searched = [trial.candidate.key for trial in trials if trial.kind is TrialKind.SEARCH]
    assert len(set(searched)) == len(searched)
    assert sum(trial.kind is TrialKind.BASELINE for trial in trials) == 1


def _confirmed_rate(report: dict[str, Any]) -> float:
    """The lowest rate at which a fresh start of the winner kept its promise, with room for this machine's noise."""
    values = report["result"]["finalist_values"] or [
        trial["value"] for trial in report["trials"] if trial["kind"] == "confirm" and trial["value"]
    ]
    return 0.8 * min(values) / OUTPUT


async def _level(engine: Deployed, rate: float) -> Level:
    driver = http_driver(engine.endpoint(), "small", counters=engine_named("vllm").counters)
    workload = Workload(prompt=Lengths(PROMPT), output=Lengths(OUTPUT))
    job = Job(
        workload,
        Objective(ObjectiveKind.HEADROOM, rate=rate),
        slos=(parse_slo("itl p95 <= 60ms"),),
        seed=int.from_bytes(os.urandom(4)),
        limits=Limits(level_s=10, total_s=30),
    )
    try:
        return (await measure(driver, job)).level
    finally:
        await driver.close()


def _itl_p95(level: Level) -> float:
    return level.statistics["itl"].p95
