"""Finding engines, and refusing those that can't be tuned safely, with the reason."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.integration.targets.conftest import candidate, start
from tests.support.apiserver import ApiServer
from tests.support.bench import Bench
from tests.support.engines import engine, free_port
from tuner.core.errors import InvalidInput, Refused
from tuner.engines.vllm import VLLM
from tuner.search import load_space
from tuner.simulator.catalogue import MODELS
from tuner.study.checkup import check_namespace
from tuner.study.doctor import Severity
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.deployment import KubernetesTarget
from tuner.targets.kubernetes.discover import choose, examine

Object = dict[str, Any]


def other(name: str = "web") -> Object:
    body = engine(name, gpus=0)
    body["spec"]["template"]["spec"]["containers"][0] |= {"command": ["sleep", "60"], "args": [], "image": "nginx"}
    return body


async def test_the_only_engine_is_taken_whatever_else_runs_there(server: ApiServer, client: Client) -> None:
    server.put("deployments", "ns", other())
    server.put("deployments", "ns", engine("llm"))
    server.put("deployments", "elsewhere", engine("llm-2"))
    assert await choose(client, "ns", [VLLM]) == "llm"


async def test_several_engines_are_listed_and_must_be_named(server: ApiServer, client: Client) -> None:
    server.put("deployments", "ns", engine("a"))
    server.put("deployments", "ns", engine("b"))
    with pytest.raises(InvalidInput, match=r"(?s)name one of them:.*a \(vllm, container engine.*b \(vllm"):
        await choose(client, "ns", [VLLM])


async def test_a_namespace_without_engines_is_told(server: ApiServer, client: Client) -> None:
    server.put("deployments", "ns", other())
    with pytest.raises(InvalidInput, match="no Deployment runs vllm"):
        await choose(client, "ns", [VLLM])


async def test_an_engine_in_a_shell_string_is_seen_and_refused_with_the_reason(
    server: ApiServer, client: Client
) -> None:
    body = engine("llm")
    line = "pip install x && vllm serve /models/tiny --max-num-seqs 64"
    body["spec"]["template"]["spec"]["containers"][0] |= {"command": ["sh", "-c"], "args": [line]}
    server.put("deployments", "ns", body)
    with pytest.raises(Refused, match="shell"):
        await choose(client, "ns", [VLLM])
    seen = await examine(client, "ns", "llm", [VLLM])
    assert any("shell" in refusal for refusal in seen.refusals)


async def test_a_script_of_a_custom_image_is_told_where_it_is_named(server: ApiServer, client: Client) -> None:
    body = engine("llm")
    body["spec"]["template"]["spec"]["containers"][0] |= {"image": "ours/llm", "command": ["/start.sh"], "args": []}
    server.put("deployments", "ns", body)
    with pytest.raises(InvalidInput, match="no Deployment runs vllm"):
        await choose(client, "ns", [VLLM])
    (refusal,) = (await examine(client, "ns", "llm", [VLLM])).refusals
    assert "starts the script start.sh" in refusal


async def test_an_engine_without_a_gpu_limit_is_no_cpu_engine(server: ApiServer, client: Client) -> None:
    bench = Bench(server)
    bench.deploy(engine(gpus=0))
    await bench.ready()
    info = await KubernetesTarget(client, "ns", "llm", VLLM).inspect()
    assert (info.on_cpu, info.gpu_count) == (False, 1)


async def test_an_engine_set_up_for_cpus_is_known_while_it_is_down(server: ApiServer, client: Client) -> None:
    body = engine(gpus=0)
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "VLLM_CPU_KVCACHE_SPACE", "value": "1"}]
    Bench(server).deploy(body)
    info = await KubernetesTarget(client, "ns", "llm", VLLM).inspect()
    assert (info.on_cpu, info.gpu_count) == (True, 0)


async def test_the_port_may_come_from_the_environment_and_the_model_from_the_log(
    server: ApiServer, client: Client
) -> None:
    port = free_port()
    body = engine(port=port)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container |= {
        "image": "vllm/vllm-openai",
        "command": [container["command"][0], "run", "/models/tiny"],
        "args": ["--max-num-seqs=64", "--port=$(PORT)"],
        "env": [{"name": "PORT", "value": str(port)}],
        "ports": [{"containerPort": port}],
    }
    server.node.images.add("vllm/vllm-openai")
    bench = Bench(server)
    bench.deploy(body)
    await bench.ready()
    info = await KubernetesTarget(client, "ns", "llm", VLLM).inspect()
    assert (info.version, info.model) == ("0.32.0", "/models/tiny")


async def test_what_others_have_served_is_seen_before_a_study_begins(
    bench: Bench, make_target: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.targets.kubernetes.traffic._WATCH_S", 0.5)
    target = await make_target(bench.name, acquire=False)
    await target.inspect()
    assert await target.traffic() == ""
    port = next(item for item in bench.args if item.isdigit())

    async def use() -> None:
        async with httpx.AsyncClient() as http:
            while True:
                await http.post(f"http://127.0.0.1:{port}/v1/completions", json={"prompt": "hello"})
                await asyncio.sleep(0.05)

    user = asyncio.create_task(use())
    seen = await target.traffic()
    user.cancel()
    assert re.fullmatch(r"\d[\d.e+]* requests/s", seen)


def annotations(key: str, value: str = "x") -> Object:
    return {"metadata": {"annotations": {key: value}}}


OWNER = {"kind": "LLMService", "name": "x", "controller": True, "uid": "1"}


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ({"spec": {"replicas": 3}}, "3 replicas"),
        ({"spec": {"replicas": 0}}, "0 replicas.*start it first"),
        ({"spec": {"paused": True}}, "paused"),
        ({"metadata": {"ownerReferences": [OWNER]}}, "LLMService x"),
        (annotations("argocd.argoproj.io/tracking-id"), "Argo CD"),
        ({"metadata": {"managedFields": [{"manager": "argocd-controller", "fieldsV1": {}}]}}, "Argo CD"),
        ({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}}, "Flux.*apps"),
        ({"metadata": {"labels": {"helm.toolkit.fluxcd.io/name": "apps"}}}, "Flux.*HelmRelease apps"),
        (annotations("reloader.stakater.com/auto", "true"), "Reloader"),
        (annotations("configmap.reloader.stakater.com/reload", "a"), "Reloader"),
    ],
)  # fmt: skip
async def test_what_would_fight_back_is_refused_with_the_reason(
    bench: Bench, client: Client, patch: Object, reason: str
) -> None:
    bench.change(patch)
    target = KubernetesTarget(client, "ns", "llm", VLLM)
    with pytest.raises(Refused, match=reason):
        await target.inspect()


async def test_an_autoscaler_that_targets_it_is_refused_and_others_are_not(bench: Bench, client: Client) -> None:
    def scaler(name: str, target: str) -> Object:
        return {"metadata": {"name": name}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": target}}}

    bench.server.put("horizontalpodautoscalers", "ns", scaler("other", "web"))
    assert not (await examine(client, "ns", "llm", [VLLM])).refusals
    idle = scaler("idle", "llm")
    idle["spec"] |= {"minReplicas": 1, "maxReplicas": 1}
    bench.server.put("horizontalpodautoscalers", "ns", idle)
    assert not (await examine(client, "ns", "llm", [VLLM])).refusals
    bench.server.put("horizontalpodautoscalers", "ns", scaler("mine", "llm"))
    (refusal,) = (await examine(client, "ns", "llm", [VLLM])).refusals
    assert "HorizontalPodAutoscaler mine" in refusal


@pytest.mark.parametrize(
    ("paused", "refused"), [({}, True), ({"paused": "true"}, False), ({"paused-replicas": "1"}, False)]
)
async def test_a_scaled_object_is_refused_until_it_is_paused(
    bench: Bench, client: Client, paused: dict[str, str], refused: bool
) -> None:
    marks = {f"autoscaling.keda.sh/{name}": value for name, value in paused.items()}
    body = {"metadata": {"name": "keda", "annotations": marks}, "spec": {"scaleTargetRef": {"name": "llm"}}}
    bench.server.put("scaledobjects", "ns", body)
    refusals = (await examine(client, "ns", "llm", [VLLM])).refusals
    assert bool(refusals) is refused
    assert all("ScaledObject keda" in one and "autoscaling.keda.sh/paused=true" in one for one in refusals)


async def test_a_helm_release_is_a_note_and_a_switched_off_flux_too(bench: Bench, client: Client) -> None:
    bench.change(annotations("meta.helm.sh/release-name", "llama"))
    flux = {"kustomize.toolkit.fluxcd.io/name": "apps"}
    bench.change({"metadata": {"labels": flux, "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}})
    seen = await examine(client, "ns", "llm", [VLLM])
    assert not seen.refusals
    assert any("llama" in note for note in seen.notes)
    assert any("switched off" in note for note in seen.notes)


async def test_missing_rights_are_named_verb_by_verb(bench: Bench, client: Client) -> None:
    bench.server.denied = {("patch", "deployments"), ("get", "pods/log"), ("delete", "replicasets")}
    seen = await examine(client, "ns", "llm", [VLLM])
    assert seen.refusals == (
        "the tuner's account may not patch deployments.apps (set the engine's flags)",
        "the tuner's account may not get pods/log (name the cause of a failed start)",
    )
    assert seen.notes == (
        "the tuner's account may not delete replicasets.apps (keep trials out of the rollout history)",
    )


async def test_flags_that_can_not_be_read_are_refused_with_the_deployments_name(
    server: ApiServer, client: Client
) -> None:
    server.put("deployments", "ns", engine(args=("--block-size=big", "--max-num-batched-tokens=many")))
    with pytest.raises(Refused, match=r"(?s)^llm can't be tuned as it is:\n  .*block-size.*\n  .*batched-tokens"):
        await KubernetesTarget(client, "ns", "llm", VLLM).inspect()


async def test_what_can_not_be_looked_for_is_told_once(bench: Bench, client: Client) -> None:
    bench.server.denied = {("list", "scaledobjects"), ("list", "horizontalpodautoscalers")}
    notes = (await examine(client, "ns", "llm", [VLLM])).notes
    assert len([note for note in notes if "scaledobjects" in note]) == 1
    assert len(notes) == 2


async def test_without_the_right_to_delete_replicasets_trials_still_run(
    bench: Bench, make_target: Callable[..., Any]
) -> None:
    bench.server.denied = {("delete", "replicasets"), ("get", "nodes"), ("list", "horizontalpodautoscalers")}
    before = bench.picture()
    target = await make_target()
    await start(target, candidate())
    assert bench.deployment["spec"]["revisionHistoryLimit"] == 10
    await target.restore()
    assert bench.picture() == before


async def test_several_reasons_are_told_together(bench: Bench, client: Client) -> None:
    bench.change({"spec": {"replicas": 2, "paused": True}})
    with pytest.raises(Refused) as caught:
        await KubernetesTarget(client, "ns", "llm", VLLM).inspect()
    assert "2 replicas" in str(caught.value)
    assert "paused" in str(caught.value)


@pytest.mark.parametrize("resource", ["google.com/tpu", "habana.ai/gaudi", "gpu.intel.com/i915"])
async def test_an_accelerator_that_is_no_gpu_is_refused_at_the_first_look(
    server: ApiServer, client: Client, resource: str
) -> None:
    body = engine("llm")
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {resource: "1"}}
    server.put("deployments", "ns", body)
    with pytest.raises(Refused, match=f"it runs on {resource}: only GPUs of NVIDIA and AMD"):
        await KubernetesTarget(client, "ns", "llm", VLLM).inspect()


async def test_a_knob_that_no_start_can_turn_is_refused_before_the_study(server: ApiServer, client: Client) -> None:
    body = engine(args=("--kv-cache-dtype=$(DTYPE)", "--speculative-config", "$(SPEC)"))
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"amd.com/gpu": "2"}}
    server.put("deployments", "ns", body)
    info = await KubernetesTarget(client, "ns", "llm", VLLM).inspect()
    assert set(info.pinned) == {
        "kv_cache_dtype",
        "speculative_method",
        "num_speculative_tokens",
        "tensor_parallel_size",
    }
    with pytest.raises(InvalidInput) as caught:
        load_space("vllm", info, {"tensor_parallel_size": [1, 2], "kv_cache_dtype": "fp8"}, allow_output_change=True)
    tensor, dtype = sorted(caught.value.problems, reverse=True)
    assert re.match(r"search\.knobs\.tensor_parallel_size: .*amd\.com/gpu here: only limits of nvidia\.com/gpu", tensor)
    assert re.match(r"search\.knobs\.kv_cache_dtype: 'fp8' .*\$\(DTYPE\)\); write its value into args", dtype)
    space = load_space("vllm", info, allow_output_change=True, real_text=True)
    assert not space.by_name.keys() & info.pinned.keys()
    assert any("$(SPEC)" in one.reason for one in space.left_out)


@pytest.mark.parametrize(
    ("gpus", "flags", "pinned"), [(4, ("--tensor-parallel-size=4",), False), (1, (), False), (3, ("-tp=2",), True)]
)
async def test_tensor_parallelism_is_turned_where_the_gpu_limit_can_follow(
    server: ApiServer, client: Client, gpus: int, flags: tuple[str, ...], pinned: bool
) -> None:
    server.put("deployments", "ns", engine(gpus=gpus, args=flags))
    info = await KubernetesTarget(client, "ns", "llm", VLLM).inspect()
    assert ("tensor_parallel_size" in info.pinned) is pinned


@pytest.mark.parametrize(
    "change",
    [{"resources": {"limits": {"google.com/tpu": "4"}}}, {"command": ["sh", "-c"], "args": ["vllm serve m --port 1"]}],
)
async def test_the_doctor_says_what_stands_against_tuning_once(
    server: ApiServer, client: Client, change: Object
) -> None:
    body = engine("llm")
    body["spec"]["template"]["spec"]["containers"][0] |= change
    server.put("deployments", "ns", body)
    findings = await check_namespace(client, "ns", "llm", None)
    assert len([one for one in findings if one.severity is Severity.BLOCKER]) == 1
    assert not [one for one in findings if one.severity is Severity.OK and one.subject == "tuning"]


async def test_the_doctor_judges_memory_by_the_node_that_the_engine_runs_on(bench: Bench, client: Client) -> None:
    async def said() -> str:
        findings = await check_namespace(client, "ns", "llm", None, model=MODELS["Llama-3.1-8B"])
        return next(one.text for one in findings if one.subject == "GPU memory")

    assert "the GPU is not known" in await said()
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    bench.server.put("nodes", "", {"metadata": {"name": "node", "labels": labels}})
    assert "1 x H100" in await said()
    bench.server.denied = {("get", "nodes"), ("list", "pods")}
    assert "the GPU is not known" in await said()
