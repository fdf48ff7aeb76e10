"""What is seen of a study's Deployment after the study, by its cluster and by its engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from tests.integration.targets.conftest import candidate, start
from tests.support.apiserver import ApiServer
from tests.support.bench import Bench
from tests.support.engines import engine, free_port
from tuner.engines.vllm import VLLM
from tuner.store import StudyRecord, StudyState
from tuner.study.cluster import Cluster
from tuner.study.found import described
from tuner.study.staleness import Today, compared, look, stale
from tuner.study.traffic import Traffic
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.deployment import KubernetesTarget

SPEC = {"workload": {"prompt": {"mean": 512}, "output": {"mean": 128}}}
HISTOGRAMS = """
vllm:request_prompt_tokens_count{engine="0"} 400.0
vllm:request_prompt_tokens_sum{engine="0"} 800000.0
vllm:request_generation_tokens_sum{engine="0"} 51200.0
"""


@pytest.fixture
def cluster(server: ApiServer) -> Cluster:
    return Cluster(server.kubeconfig)


@pytest.fixture
async def study(bench: Bench, client: Client) -> StudyRecord:
    """A study that has just ended."""
    info = await KubernetesTarget(client, "ns", bench.name, VLLM).inspect()
    now = datetime.now(UTC)
    return StudyRecord(
        1, "s", info.name, "f", SPEC, described(info), StudyState.FINISHED, "", None, None, None, now, now
    )


@pytest.fixture
async def elsewhere() -> AsyncIterator[str]:
    """An endpoint that shows the metrics of an engine which has served longer prompts."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=HISTOGRAMS)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def judged(study: StudyRecord, today: Today) -> list[str]:
    return stale(study, today, datetime.now(UTC))


def change(bench: Bench, **container: Any) -> None:
    bench.change({"spec": {"template": {"spec": {"containers": [{"name": "engine", **container}]}}}})


async def test_nothing_has_changed_right_after_a_study(study: StudyRecord, cluster: Cluster) -> None:
    today = await look(study, cluster)
    assert today.info is not None
    assert (today.info.version, today.info.model) == ("0.32.0", "/models/tiny")
    assert judged(study, today) == []


async def test_other_flags_and_another_image_are_seen_also_where_no_study_could_begin(
    bench: Bench, study: StudyRecord, cluster: Cluster
) -> None:
    change(bench, image="python:3.12", args=["--max-num-seqs=256", *bench.args[1:]])
    bench.change({"spec": {"replicas": 2}})
    image, flags = [one for one in judged(study, await look(study, cluster)) if "could not be told" not in one]
    assert "python:3.12 now, and python:3.11" in image
    assert "max_num_seqs 256 (was 64)" in flags


async def test_flags_that_were_not_tuned_are_compared_too(bench: Bench, study: StudyRecord, cluster: Cluster) -> None:
    today = await look(study, cluster)
    assert "its flags, as far as tuner knows them" in compared(study, today)
    change(bench, args=[*bench.args, "--quantization=fp8", "--max-model-len=4096"])
    (sentence,) = [one for one in judged(study, await look(study, cluster)) if "could not be told" not in one]
    assert "quantization fp8 (was engine default)" in sentence
    assert "max_model_len 4096" in sentence
    earlier = replace(study, info={name: value for name, value in study.info.items() if name != "fixed"})
    today = await look(earlier, cluster)
    assert [one for one in judged(earlier, today) if "could not be told" not in one] == []
    assert "the flags that are tuned" in compared(earlier, today)


async def test_a_deployment_made_anew_one_that_is_gone_and_another_program_are_told(
    server: ApiServer, bench: Bench, study: StudyRecord, cluster: Cluster
) -> None:
    del server.objects["deployments", "ns", "llm"]
    assert judged(study, await look(study, cluster)) == ["there is no Deployment llm in namespace ns any more"]
    bench.deploy(engine())
    assert "made anew under its name" in judged(study, await look(study, cluster))[0]
    change(bench, image="nginx:1", command=["nginx"], args=["-e", "stderr"])
    assert judged(study, await look(study, cluster)) == ["it does not run vllm any more"]


async def test_longer_prompts_are_seen_in_the_engines_own_metrics(
    study: StudyRecord, cluster: Cluster, elsewhere: str
) -> None:
    today = await look(study, replace(cluster, endpoint=elsewhere))
    assert (today.sent, today.served) == (Traffic(512.0, 128.0), Traffic(2000.0, 128.0, 400))
    (sentence,) = judged(study, today)
    assert "prompts have 2,000 tokens" in sentence


async def test_what_a_study_of_now_sends_is_not_taken_for_traffic(
    study: StudyRecord, cluster: Cluster, elsewhere: str, make_target: Callable[..., Any]
) -> None:
    target = await make_target()
    await start(target, candidate())
    assert judged(study, await look(study, replace(cluster, endpoint=elsewhere))) == []
    await target.restore()


async def test_a_workload_whose_file_is_gone_can_not_be_compared(
    study: StudyRecord, cluster: Cluster, elsewhere: str
) -> None:
    unread = replace(study, spec={"workload": {"prompts_file": "/nowhere/prompts.jsonl"}})
    (sentence,) = judged(unread, await look(unread, replace(cluster, endpoint=elsewhere)))
    assert "could not be told: workload.prompts_file: can't be read: No such file" in sentence


async def test_what_does_not_answer_is_told_as_such(server: ApiServer, study: StudyRecord, cluster: Cluster) -> None:
    nowhere = replace(cluster, endpoint=f"http://127.0.0.1:{free_port()}")
    (silent,) = judged(study, await look(study, nowhere))
    assert "its traffic is still what was measured could not be told: http://127.0.0.1:" in silent
    server.node.rolls = False
    for pod in server.all("pods"):
        del server.objects["pods", "ns", pod["metadata"]["name"]]
    (down,) = judged(study, await look(study, cluster))
    assert "could not be told: its engine is not ready" in down
    await server.stop()
    (apart,) = judged(study, await look(study, cluster))
    assert "ns/llm is still as it was measured could not be told: reach the API server: no answer" in apart
    await server.start()


async def test_a_simulated_engine_is_looked_for_nowhere(study: StudyRecord, cluster: Cluster) -> None:
    simulated = replace(study, info={**study.info, "simulated": True})
    assert await look(simulated, replace(cluster, context="none")) == Today()
