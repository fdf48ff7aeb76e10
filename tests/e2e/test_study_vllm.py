"""One whole study on the real vLLM: killed twice, resumed, confirmed, exported, applied, and nothing else changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support.command import Point, Tuner
from tests.e2e.support.deployment import Deployed, container
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.ownership import assert_untouched
from tuner.core.workload import Lengths, Objective, ObjectiveKind, Workload
from tuner.engines.vllm import VLLM
from tuner.probe import Job, Limits, http_driver, measure
from tuner.store import Phase, Store, TrialKind

pytestmark = [pytest.mark.cluster, pytest.mark.engine, pytest.mark.alone]

CLIENTS, PROMPT, OUTPUT, SPREAD = 8, 256, 8, 0.8
# The default puts whole prompts of everybody into one step, for which everyone else's next token waits. Steps of at
# most 64 tokens make no one wait long, so a share of the default's own ITL is a promise that it misses and they keep,
# on a fast machine as on a slow one. Output lengths differ, else the clients march in step and no one waits.
SHARE = 0.35
# Of the 8 starts the kills cost two: the baseline's, and the one candidate's.
STUDY = f"""
workload: {{prompt: {PROMPT}, output: {{mean: {OUTPUT}, cv: {SPREAD}}}}}
slos: [ttft p95 <= 20s, itl p95 <= PROMISE]
objective: {{kind: throughput, concurrency: {CLIENTS}}}
search:
  knobs:
    max_num_seqs: {{low: 8, high: 32}}
    max_num_batched_tokens: {{low: 32, high: 64}}
    gpu_memory_utilization: {{low: 0.5, high: 0.6}}
    enable_prefix_caching: drop
    enable_chunked_prefill: drop
    block_size: drop
budget: {{starts: 8, pairs: 2, level: 30s, probe: 3min}}
rollout_deadline: 4min
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
    default = itl_p95(engine)
    promise = SHARE * default
    (tmp_path / "study.yaml").write_text(STUDY.replace("PROMISE", f"{1000 * promise:.0f}ms"))
    start = ("start", "-n", str(kubectl.namespace), "-f", str(tmp_path / "study.yaml"), "--yes", "-o", "json")
    for kill in KILLS:
        killed = tuner.run(*start, kill=kill, timeout_s=400)
        assert killed.killed, f"{kill} was not passed: {killed.err}\n{killed.out}"
    report = json.loads(tuner.run(*start, timeout_s=1200).succeeded().out)
    print(json.dumps({key: report[key] for key in ("summary", "starts", "gpu_minutes", "result")}, indent=1))

    engine.wait_until_ready()
    assert_untouched(before, engine.get())
    assert_none_lost_or_repeated(tuner)
    assert report["starts"] <= 8
    assert report["conclusion"] == "meets the SLOs, the current configuration does not", report["summary"]
    winner = report["result"]["finalist"]
    assert winner["max_num_batched_tokens"] <= 64
    assert "gpu_memory_utilization" in report["result"]["ineffective"]  # on CPU

    patch = tmp_path / "winner.yaml"
    patch.write_text(tuner.run("export", "-o", "strategic-merge").succeeded().out)
    kubectl("patch", "deployment", engine.name, "--patch-file", str(patch))
    engine.wait_until_ready()
    assert f"--max-num-batched-tokens={winner['max_num_batched_tokens']}" in container(engine.get())["args"]
    exported = itl_p95(engine)
    print(f"ITL p95: default {default:.3f} s, promised {promise:.3f} s, exported {exported:.3f} s")
    assert exported < promise


def assert_none_lost_or_repeated(tuner: Tuner) -> None:
    """Every trial has ended once, and no configuration was searched twice."""
    with Store.open(f"sqlite:///{tuner.folder / 'data' / 'tuner' / 'tuner.db'}") as store:
        (study,) = store.studies()
        trials = store.trials(study.id)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    for trial in trials:
        assert trial.phase is Phase.TOLD
        assert sum(one.phase is Phase.RECORDED for one in trial.phases) == 1
    searched = [trial.candidate.key for trial in trials if trial.kind is TrialKind.SEARCH]
    assert len(set(searched)) == len(searched)
    assert sum(trial.kind is TrialKind.BASELINE for trial in trials) == 1


def itl_p95(engine: Deployed) -> float:
    """The ITL under the study's load, measured as a trial measures it, in s."""
    return asyncio.run(_level(engine)).statistics["itl"].p95


async def _level(engine: Deployed) -> Any:
    driver = http_driver(engine.endpoint(), "small", counters=VLLM.counters)
    job = Job(
        Workload(Lengths(PROMPT), Lengths(OUTPUT, SPREAD)),
        Objective(ObjectiveKind.THROUGHPUT, concurrency=CLIENTS),
        slos=(),
        seed=1,
        limits=Limits(level_s=30, total_s=90),
    )
    try:
        return (await measure(driver, job)).level
    finally:
        await driver.close()
