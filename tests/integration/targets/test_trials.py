"""Trials on a Deployment: started, read back, failed with their causes, restored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.integration.targets.conftest import STUDY, candidate, failure, start
from tests.support.bench import Bench
from tests.support.engines import engine, free_port
from tuner.core.cause import Cause, Failure
from tuner.core.errors import Refused
from tuner.core.knob import Candidate
from tuner.targets.kubernetes import rollout
from tuner.targets.kubernetes.deployment import KubernetesTarget


async def test_inspect_tells_what_the_deployment_runs_and_changes_nothing(
    bench: Bench, make_target: Callable[..., Any]
) -> None:
    before = bench.picture()
    target = await make_target(acquire=False)
    info = await target.inspect()
    assert (info.name, info.engine, info.version, info.model) == ("ns/llm", "vllm", "0.32.0", "/models/tiny")
    assert info.baseline == Candidate.of(max_num_seqs=64)
    assert info.gpu_count == 1
    assert bench.picture() == before


async def test_a_trial_runs_the_candidate_and_restore_leaves_the_deployment_as_it_was(
    bench: Bench, target: KubernetesTarget
) -> None:
    before = bench.picture()
    old_replicasets = {r["metadata"]["name"] for r in bench.server.all("replicasets")}
    running = await start(target, candidate(4096))
    port = before["spec"]["template"]["spec"]["containers"][0]["args"][1:]
    assert bench.args == ["--max-num-seqs=32", *port, "--max-num-batched-tokens", "4096"]
    assert running.model == "tiny"
    assert running.facts.settings is not None
    assert running.facts.settings["max_num_seqs"] == 32
    async with httpx.AsyncClient(base_url=running.endpoint or "") as http:
        assert (await http.get("/health")).status_code == 200
    await target.restore()
    assert bench.picture() == before
    await bench.ready()
    assert {r["metadata"]["name"] for r in bench.server.all("replicasets")} == old_replicasets


async def test_equal_settings_still_make_a_fresh_process(bench: Bench, target: KubernetesTarget) -> None:
    await start(target, candidate())
    first = bench.pods[0]["metadata"]["name"]
    await start(target, candidate())
    assert [pod["metadata"]["name"] for pod in bench.pods] != [first]


async def test_the_baseline_is_started_afresh_with_its_own_command_line(bench: Bench, target: KubernetesTarget) -> None:
    original, pod = bench.args, bench.pods[0]["metadata"]["name"]
    await start(target, candidate(1024))
    await start(target, Candidate.of(max_num_seqs=64))
    assert bench.args == original
    assert bench.pods[0]["metadata"]["name"] != pod


async def test_the_only_gpu_is_given_back_before_it_is_needed_again(bench: Bench, target: KubernetesTarget) -> None:
    bench.server.node.gpus = 1
    await start(target, candidate(4096))
    await start(target, candidate(1024))
    # The original strategy is a rolling update, which would wait for a second GPU for ever.
    await target.restore()
    await bench.ready()
    assert bench.deployment["spec"]["strategy"]["type"] == "RollingUpdate"


async def test_the_users_revisions_survive_more_trials_than_the_history_holds(
    server: Any, make_target: Callable[..., Any]
) -> None:
    bench = Bench(server)
    body = engine()
    body["spec"] |= {"revisionHistoryLimit": 1, "strategy": {"type": "Recreate"}}
    bench.deploy(body)
    await bench.ready()
    bench.change({"spec": {"template": {"metadata": {"labels": {"release": "2"}}}}})
    await bench.ready()
    revisions = {r["metadata"]["name"] for r in server.all("replicasets")}
    assert len(revisions) == 2
    target = await make_target()
    for batched in (512, 1024, 4096):
        await start(target, candidate(batched))
    await target.restore()
    await bench.ready()
    await asyncio.sleep(0.2)
    assert {r["metadata"]["name"] for r in server.all("replicasets")} == revisions


async def test_the_users_revisions_survive_a_row_of_failed_starts(bench: Bench, target: KubernetesTarget) -> None:
    bench.change({"spec": {"revisionHistoryLimit": 1}})
    (revision,) = bench.server.all("replicasets")
    for _ in range(7):
        await failure(target, candidate(2001))
    await start(target, candidate(1024))
    await asyncio.sleep(0.2)
    assert revision["metadata"]["name"] in {r["metadata"]["name"] for r in bench.server.all("replicasets")}


@pytest.mark.parametrize(
    ("fate", "cause", "quote"),
    [
        (2001, Cause.BAD_FLAG, "unrecognized arguments: --no-such-flag"),
        (2002, Cause.KV_CACHE_TOO_SMALL, "estimated maximum model length is 3968"),
        (2003, Cause.GPU_OOM_AT_START, "CUDA out of memory"),
        (2006, Cause.HOST_OOM, "memory limit"),
        (2008, Cause.NOT_APPLIED, "max_num_seqs is 7, not 32"),
        (2010, Cause.GPU_OOM_AT_START, "Free memory on device"),
    ],
)
async def test_a_failed_start_is_told_with_its_cause(
    bench: Bench, target: KubernetesTarget, fate: int, cause: Cause, quote: str
) -> None:
    told = await failure(target, candidate(fate))
    assert told.cause is cause
    assert quote in told.message
    before = bench.deployment["metadata"]["generation"]
    await start(target, candidate(1024))  # the next trial is none the worse for it
    assert bench.deployment["metadata"]["generation"] > before


async def test_memory_that_is_not_free_yet_is_given_a_second_start(target: KubernetesTarget) -> None:
    running = await start(target, candidate(2005))
    assert running.model == "tiny"


async def test_a_second_start_for_memory_that_was_not_free_has_no_deadline_of_its_own(target: KubernetesTarget) -> None:
    """What is promised to be over by a time must not take twice as long."""
    told = await failure(target, candidate(2011), deadline_s=2.5)
    assert told.cause is Cause.SLOW_START


async def test_an_engine_dead_inside_a_living_container_is_found_by_its_log(target: KubernetesTarget) -> None:
    told = await failure(target, candidate(2007), deadline_s=60)
    assert told.cause is Cause.KV_CACHE_TOO_SMALL


async def test_a_start_slower_than_its_deadline_shows_the_last_lines_of_the_log(target: KubernetesTarget) -> None:
    told = await failure(target, candidate(2004), deadline_s=1.5)
    assert told.cause is Cause.SLOW_START
    assert "Loading safetensors" in told.evidence


async def test_a_pod_that_never_becomes_ready_is_told_from_an_engine_that_never_serves(
    target: KubernetesTarget,
) -> None:
    told = await failure(target, candidate(2009), deadline_s=1.5)
    assert told.cause is Cause.SLOW_START
    assert "readinessProbe" in told.message


async def test_a_ready_pod_that_refuses_our_connections_is_no_fault_of_the_candidate(
    bench: Bench, make_target: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "_NO_ROUTE_GRACE_S", 0.5)
    target = await make_target(bench.name, acquire=False, endpoint=f"http://127.0.0.1:{free_port()}")
    await target.acquire(STUDY)  # as where the engine was down at the first look
    await target.inspect()
    with pytest.raises(Refused, match=r"no route from here to http://127.*--endpoint"):
        await start(target, candidate(), 30)
    await target.restore()


@pytest.mark.parametrize(("path", "problem"), [(None, "ConnectError"), ("/elsewhere", "HTTP 404")])
async def test_an_engine_that_can_not_be_reached_is_told_before_anything_changes(
    bench: Bench, make_target: Callable[..., Any], path: str | None, problem: str
) -> None:
    before = bench.picture()
    port = free_port() if path is None else bench.args[-1]
    target = await make_target(bench.name, acquire=False, endpoint=f"http://127.0.0.1:{port}{path or ''}")
    await target.inspect()
    with pytest.raises(Refused, match=rf"no route from here to http://127.*{problem}.*--endpoint"):
        await target.acquire(STUDY)
    assert bench.picture() == before
    assert not bench.server.all("leases")


async def test_a_pod_without_a_readiness_probe_may_be_loading(
    server: Any, make_target: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "_NO_ROUTE_GRACE_S", 0.3)
    bench = Bench(server)
    body = engine()
    del body["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    bench.deploy(body)
    await bench.ready()
    told = await failure(await make_target(), candidate(2004), 1.5)
    assert told.cause is Cause.SLOW_START


async def test_pods_that_the_api_server_refuses_are_told_and_not_blamed_on_the_next_trial(
    bench: Bench, target: KubernetesTarget
) -> None:
    bench.server.node.refusal = "pods is forbidden: exceeded quota: gpus"
    told = await failure(target, candidate())
    assert (told.cause, told.message) == (
        Cause.UNSCHEDULABLE,
        "the pod was refused: pods is forbidden: exceeded quota: gpus",
    )
    bench.server.node.refusal = ""
    stale = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    bench.deployment["status"]["conditions"] = [stale]
    await start(target, candidate(1024))


async def test_a_container_that_was_started_again_before_its_log_was_read_is_told_by_its_last_run(
    target: KubernetesTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = target._client.log

    async def late(*of: str, previous: bool = False, **options: Any) -> str:
        return await read(*of, previous=True, **options) if previous else "INFO vLLM API server version 0.32.0"

    monkeypatch.setattr(target._client, "log", late)
    told = await failure(target, candidate(2001))
    assert told.cause is Cause.BAD_FLAG


async def test_a_missing_image_is_not_the_candidates_fault(bench: Bench, target: KubernetesTarget) -> None:
    bench.server.node.images.clear()
    told = await failure(target, candidate())
    assert told.cause is Cause.IMAGE_OR_CONFIG
    assert told.cause.infrastructure
    assert "ErrImageNeverPull" in told.message


async def test_gpus_taken_by_others_are_told_in_the_schedulers_words(bench: Bench, target: KubernetesTarget) -> None:
    bench.server.node.gpus = 0
    told = await failure(target, candidate())
    assert told.cause is Cause.UNSCHEDULABLE
    assert "Insufficient nvidia.com/gpu" in told.message


async def test_a_pod_that_its_node_turned_away_is_told_from_the_one_that_replaces_it(
    bench: Bench, target: KubernetesTarget
) -> None:
    bench.server.node.turns_away = 5
    assert (await start(target, candidate())).model == "tiny"
    bench.server.node.turns_away = 1_000_000
    told = await failure(target, candidate(1024), deadline_s=60)
    assert told.cause is Cause.UNSCHEDULABLE
    assert "UnexpectedAdmissionError: Allocate failed" in told.message


async def test_a_start_that_its_startup_probe_gives_up_is_slow_and_did_not_crash(
    server: Any, make_target: Callable[..., Any]
) -> None:
    bench = Bench(server)
    body = engine()
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["startupProbe"] = {**container["readinessProbe"], "periodSeconds": 1, "failureThreshold": 2}
    bench.deploy(body)
    await bench.ready()
    told = await failure(await make_target(), candidate(2004), deadline_s=60)
    assert told.cause is Cause.SLOW_START
    assert "startupProbe allows 2 s" in told.message


@pytest.mark.parametrize(("prompt", "cause"), [("die", Cause.CRASH_UNDER_LOAD), ("oom", Cause.GPU_OOM_UNDER_LOAD)])
async def test_an_engine_lost_under_load_is_diagnosed_from_its_pod(
    target: KubernetesTarget, prompt: str, cause: Cause
) -> None:
    running = await start(target, candidate())
    async with httpx.AsyncClient(base_url=running.endpoint or "") as http:
        with pytest.raises(httpx.HTTPError):
            await http.post("/v1/completions", json={"prompt": prompt})
    told = await target.diagnose(Failure(Cause.CRASH_UNDER_LOAD, "streams broke"))
    assert told.cause is cause
    assert told.message != "streams broke"


async def test_a_failure_of_which_the_target_knows_nothing_stays_as_it_was(target: KubernetesTarget) -> None:
    await start(target, candidate())
    seen = Failure(Cause.PROBE_ERROR, "connection reset")
    assert await target.diagnose(seen) is seen


async def test_tensor_parallelism_takes_the_gpu_limit_along(bench: Bench, target: KubernetesTarget) -> None:
    before = bench.picture()
    await start(target, candidate().with_(tensor_parallel_size=2))
    container = bench.deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2", "memory": "200Mi"}
    await start(target, candidate())
    assert bench.deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    await target.restore()
    assert bench.picture() == before
