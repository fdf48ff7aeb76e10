"""The doctor says what an engine's manifest will run into, what to write instead, and never a secret."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from tuner.core.hardware import Gpu
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.study.doctor import Finding, Severity, examine_file, findings_for

HEALTHY: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "llm"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "llm"}},
        "strategy": {"type": "Recreate"},
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "engine",
                        "image": "vllm/vllm-openai:v0.32.0",
                        "args": ["--model=m/x", "--max-num-seqs=64", "--port=8000"],
                        "ports": [{"name": "http", "containerPort": 8000}],
                        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}},
                        "resources": {"limits": {"nvidia.com/gpu": "1"}},
                    }
                ]
            }
        },
    },
}

RECIPE = """\
# A published recipe of 2024.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: vllm-optimized
spec:
  replicas: 1
  selector: {matchLabels: {app: vllm-optimized}}
  template:
    metadata: {labels: {app: vllm-optimized}}
    spec:
      containers:
        - name: vllm
          image: registry.example.com/vllm:0.6.0
          args:
            - --model=/models/big
            - --tensor-parallel-size=2
            - --max-num-seqs=64
            - --speculative-model=org/small
            - --num-speculative-tokens=5
            - --disable-log-requests
            - --enforce-eager=false
          resources:
            limits: {nvidia.com/gpu: 2}
"""


def deployment(
    spec: dict[str, Any] | None = None, pod: dict[str, Any] | None = None, **container: Any
) -> dict[str, Any]:
    made = copy.deepcopy(HEALTHY)
    made["spec"].update(spec or {})
    made["spec"]["template"]["spec"].update(pod or {})
    made["spec"]["template"]["spec"]["containers"][0].update(container)
    return made


def about(findings: list[Finding], subject: str) -> list[Finding]:
    return [finding for finding in findings if finding.subject == subject]


def one(findings: list[Finding], subject: str) -> Finding:
    (found,) = about(findings, subject)
    return found


def test_a_healthy_deployment_has_nothing_to_complain_about() -> None:
    findings = findings_for(deployment())
    assert {finding.severity for finding in findings} <= {Severity.OK, Severity.NOTE}
    assert one(findings, "container engine").text == "vllm 0.32.0 (by its image's tag), 1 GPU, model m/x"
    assert one(findings, "max_num_seqs").text.startswith("64; can be tuned: ")
    assert one(findings, "max_num_batched_tokens").text.startswith("engine default; can be tuned: ")


def test_a_knob_that_is_not_searched_says_why_and_what_would_change_it() -> None:
    hopper = Gpu("H100-80", 79.1, 3.35, 989.0, 1979.0, 9.0)
    findings = findings_for(deployment(), gpu=hopper)
    assert "real text" in one(findings, "speculative_method").text
    assert "may change the engine's output" in one(findings, "kv_cache_dtype").text


def test_a_knob_set_from_the_environment_is_named_without_its_value() -> None:
    findings = findings_for(
        deployment(args=["--max-num-seqs=$(SEQS)"], env=[{"name": "SEQS", "value": "73"}]), assume_version="0.32.0"
    )
    found = one(findings, "max_num_seqs")
    assert (found.severity, "$(SEQS)" in found.text) == (Severity.NOTE, True)
    assert "73" not in repr(findings)


def test_the_recipe_is_told_what_its_version_refuses_and_what_newer_ones_will() -> None:
    findings = examine_file(RECIPE)
    assert one(findings, "container vllm").text == "vllm 0.6.0 (by its image's tag), 2 GPUs, model /models/big"
    eager = one(findings, "--enforce-eager=false")
    assert eager.severity is Severity.BLOCKER
    assert eager.instead is not None
    assert eager.instead.startswith("leave it out")
    for flag in ("--speculative-model=org/small", "--num-speculative-tokens=5", "--disable-log-requests"):
        assert one(findings, flag).severity is Severity.NOTE
    corrected, translated = (yaml.safe_load(finding.instead or "")["args"] for finding in about(findings, "args"))
    assert corrected == [
        "--model=/models/big",
        "--tensor-parallel-size=2",
        "--max-num-seqs=64",
        "--speculative-model=org/small",
        "--num-speculative-tokens=5",
        "--disable-log-requests",
    ]
    assert translated == [
        "--model=/models/big",
        "--tensor-parallel-size=2",
        "--max-num-seqs=64",
        '--speculative-config={"method":"draft_model","model":"org/small","num_speculative_tokens":5}',
    ]
    warned = {finding.subject for finding in findings if finding.severity is Severity.WARNING}
    assert warned == {"strategy", "readinessProbe", "/dev/shm"}


def test_an_assumed_version_goes_before_the_image_s_tag() -> None:
    findings = examine_file(RECIPE, assume_version="0.32.0")
    assert "0.32.0 (as you say)" in one(findings, "container vllm").text
    blockers = [finding for finding in findings if finding.severity is Severity.BLOCKER]
    assert len(blockers) == 4
    (suggestion,) = about(findings, "args")
    again = deployment(args=yaml.safe_load(suggestion.instead or "")["args"])
    assert not any(
        finding.severity is Severity.BLOCKER and finding.subject.startswith("--") for finding in findings_for(again)
    )


def test_a_misspelt_flag_is_named_with_what_was_meant() -> None:
    findings = findings_for(deployment(args=["--gpu-memory-utilisation=0.9", "--max-num-seqs", "64"]))
    found = one(findings, "--gpu-memory-utilisation=0.9")
    assert (found.severity, found.instead) == (Severity.BLOCKER, "--gpu-memory-utilization=0.9")
    assert yaml.safe_load(one(findings, "args").instead or "") == {
        "args": ["--gpu-memory-utilization=0.9", "--max-num-seqs", "64"]
    }


def test_of_an_unknown_version_a_removed_flag_is_only_a_warning() -> None:
    findings = findings_for(deployment(image="vllm/vllm-openai:latest", args=["--swap-space", "4", "--port=8000"]))
    assert one(findings, "--swap-space 4").severity is Severity.WARNING
    assert "--assume-version" in (one(findings, "container engine").instead or "")


@pytest.mark.parametrize(
    ("spec", "warned"),
    [
        ({"strategy": {}}, True),  # 25 % of one pod: one more, none less
        ({"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}, True),
        ({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}, False),
        ({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}}, False),  # Kubernetes makes it 1
        ({"strategy": {}, "replicas": 4}, False),  # one of four may be missing
        ({"strategy": {"type": "Recreate"}}, False),
    ],
)
def test_an_update_that_needs_a_second_gpu_is_warned_of(spec: dict[str, Any], warned: bool) -> None:
    assert bool(about(findings_for(deployment(spec)), "strategy")) is warned
    no_gpu = deployment(spec, resources={})
    assert not about(findings_for(no_gpu), "strategy")


@pytest.mark.parametrize(
    ("spec", "probe", "instead"),
    [
        ({}, {"failureThreshold": 120, "periodSeconds": 10}, "progressDeadlineSeconds: 1440"),
        ({}, {"failureThreshold": 59}, None),
        ({"progressDeadlineSeconds": 1800}, {"failureThreshold": 120}, None),
        ({}, {"initialDelaySeconds": 600}, "progressDeadlineSeconds: 780"),
    ],
)
def test_a_deadline_shorter_than_the_start_that_probes_allow_is_noted(
    spec: dict[str, Any], probe: dict[str, Any], instead: str | None
) -> None:
    found = about(findings_for(deployment(spec, startupProbe=probe)), "progressDeadlineSeconds")
    assert [finding.instead for finding in found] == ([] if instead is None else [instead])


def test_probes_that_are_missing_wrong_or_deadly_are_warned_of() -> None:
    assert one(findings_for(deployment(readinessProbe=None)), "readinessProbe").severity is Severity.WARNING
    tcp = one(findings_for(deployment(readinessProbe={"tcpSocket": {"port": 8000}})), "readinessProbe")
    assert tcp.severity is Severity.NOTE
    astray = one(findings_for(deployment(readinessProbe={"httpGet": {"port": 9000}})), "readinessProbe")
    assert "port 9000" in astray.text
    assert "8000" in astray.text
    live = deployment(livenessProbe={"httpGet": {"port": 8000}, "initialDelaySeconds": 30})
    assert one(findings_for(live), "livenessProbe").severity is Severity.WARNING
    held = deployment(livenessProbe={"httpGet": {"port": 8000}}, startupProbe={"failureThreshold": 50})
    assert not about(findings_for(held), "livenessProbe")


def test_a_service_named_like_the_engine_is_a_trap_unless_links_are_off() -> None:
    assert "VLLM_PORT" in one(findings_for(deployment(), services=["vllm"]), "Service").text
    assert not about(findings_for(deployment(), services=["llm"]), "Service")
    assert not about(findings_for(deployment(pod={"enableServiceLinks": False}), services=["vllm"]), "Service")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "vllm"}}
    assert about(examine_file(yaml.safe_dump_all([deployment(), service])), "Service")


def test_gpus_and_parallel_flags_have_to_agree() -> None:
    few = findings_for(deployment(args=["--tensor-parallel-size=2"]))
    assert one(few, "GPUs").severity is Severity.BLOCKER
    many = findings_for(deployment(resources={"limits": {"nvidia.com/gpu": 4}}))
    assert (one(many, "GPUs").severity, one(many, "GPUs").instead) == (Severity.WARNING, "--tensor-parallel-size=4")
    hidden = deployment(args=["--tensor-parallel-size=$(TP)"], resources={"limits": {"nvidia.com/gpu": 4}})
    assert not about(findings_for(hidden), "GPUs")


@pytest.mark.parametrize(
    "args", [["--api-key", "my-secret-key"], ["--api-key=my-secret-key"], ["--api-k=my-secret-key"]]
)
def test_an_api_key_in_args_is_warned_of_and_never_shown(args: list[str]) -> None:
    findings = findings_for(deployment(args=[*args, "--enforce-eager=false"]))
    assert any(finding.severity is Severity.WARNING and "secret" in finding.text for finding in findings)
    assert about(findings, "args")
    assert "my-secret-key" not in repr(findings)


def test_a_secret_in_the_environment_is_named_and_never_shown() -> None:
    env = [{"name": "HF_TOKEN", "value": "hf_abcdefghijkl"}, {"name": "A", "value": "sk-abcdefghijkl"}]
    env += [{"name": "my_auth_key", "value": "abcdefghijkl"}, {"name": "TOKENIZERS_PARALLELISM", "value": "false"}]
    findings = findings_for(deployment(env=env))
    assert [finding.text.rsplit(" ", 1)[-1] for finding in about(findings, "env")] == ["HF_TOKEN", "A", "my_auth_key"]
    assert "abcdefghijkl" not in repr(findings)


@pytest.mark.parametrize(
    ("container", "subject"),
    [
        ({"command": ["sh", "-c", "vllm serve m"]}, "shell-string"),
        ({"command": ["/entrypoint.sh"]}, "wrapper-script"),
        ({"args": ["--config", "x.yaml"]}, "config-file"),
        ({"args:": ["--port=1"]}, "typo"),
        ({"args": ["-- max-model-len=2048"]}, "typo"),
        ({"args": ["--port", 8000]}, "malformed"),
        ({"args": [{"--api-key": "my-secret-key"}]}, "malformed"),
    ],
)
def test_what_cannot_be_edited_is_refused_with_the_way_round(container: dict[str, Any], subject: str) -> None:
    (found,) = findings_for(deployment(**container))
    assert (found.severity, found.subject) == (Severity.BLOCKER, subject)
    assert found.instead
    assert "my-secret-key" not in found.text


def test_other_engines_and_other_programs_are_told_apart() -> None:
    sglang = findings_for(deployment(image="lmsysorg/sglang:v0.5", args=[]))
    assert "SGLang" in sglang[0].text
    assert sglang[0].severity is Severity.BLOCKER
    redis = findings_for(deployment(image="redis:8", args=[], resources={}))
    assert [finding.severity for finding in redis] == [Severity.NOTE]


def test_a_file_is_read_document_by_document() -> None:
    text = "a: [1\n---\n" + yaml.safe_dump(deployment(spec={"replicas": 2})) + "---\n- op: add\n"
    findings = examine_file(text)
    assert (findings[0].subject, findings[0].line) == ("malformed", 2)
    assert one(findings, "container engine").line == 1 + text.splitlines().index("        name: engine")
    assert one(findings, "replicas").line == 1 + text.splitlines().index("  replicas: 2")
    assert "2 replicas" in one(findings, "replicas").text
    assert one(findings, "patch-fragment").severity is Severity.BLOCKER


def test_a_template_is_said_to_be_one_once() -> None:
    findings = examine_file("{{- if .Values.a }}\nx: 1\n---\n{{ include }}\ny: 2\n")
    assert [finding.subject for finding in findings] == ["helm-template"]


def test_a_finding_names_the_line_of_its_flag() -> None:
    lines = RECIPE.splitlines()
    for finding in examine_file(f"a: 1\n---\n{RECIPE}"):
        if finding.subject.startswith("--"):
            assert finding.line is not None
            assert finding.subject.partition("=")[0] in lines[finding.line - 3]
    assert one(examine_file(RECIPE), "container vllm").line == 13
    assert one(examine_file(RECIPE), "readinessProbe").line == 2


@pytest.mark.parametrize("resource", ["google.com/tpu", "habana.ai/gaudi"])
def test_an_accelerator_that_is_no_gpu_is_refused_and_no_knob_promised(resource: str) -> None:
    findings = findings_for(deployment(resources={"limits": {resource: 8}}))
    assert one(findings, "accelerator").severity is Severity.BLOCKER
    assert resource in one(findings, "accelerator").text
    assert not [finding for finding in findings if "can be tuned:" in finding.text or "GPUs" in finding.subject]


def test_an_image_that_is_to_be_filled_in_is_named_as_that() -> None:
    (found,) = findings_for(deployment(image="${IMAGE}", command=["run"], args=["--port=8000"]))
    assert (found.severity, found.subject) == (Severity.BLOCKER, "image")
    assert "${IMAGE}" in found.text
    assert "envsubst" in (found.instead or "")


def test_a_deadline_is_proposed_that_ends_some_day() -> None:
    probe = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 10, "failureThreshold": 6000}
    found = one(findings_for(deployment(startupProbe=probe)), "progressDeadlineSeconds")
    assert found.instead == "progressDeadlineSeconds: 7200"


def test_a_file_without_an_engine_says_so() -> None:
    assert [finding.subject for finding in examine_file("apiVersion: v1\nkind: Service\n")] == ["engine"]
    assert [finding.subject for finding in examine_file("")] == ["engine"]


@pytest.mark.parametrize(
    ("known", "text", "instead"),
    [
        ({}, "not judged: the GPU and the model's shape are not known", "--gpu GPU --model MODEL"),
        ({"gpu": GPUS["H100"]}, "not judged: the model's shape is not known", "--model MODEL"),
        ({"model": MODELS["Llama-3.1-8B"]}, "not judged: the GPU is not known", "--gpu GPU"),
    ],
)
def test_memory_that_was_not_judged_is_said_with_what_is_to_be_known(
    known: dict[str, Any], text: str, instead: str
) -> None:
    found = one(findings_for(deployment(), **known), "GPU memory")
    assert (found.severity, found.text) == (Severity.NOTE, text)
    assert instead in (found.instead or "")


@pytest.mark.parametrize(
    ("args", "severity", "text"),
    [
        (["serve", "x/Llama-3.1-8B-Instruct", "--max-model-len=8192"], Severity.OK, "expected to suffice on 1 x L4: "),
        (["--model=meta-llama/Llama-3.1-8B"], Severity.WARNING, "expected not to start on 1 x L4: "),
        (["--model=llama-3.1-8b", "--block-size=17"], Severity.WARNING, "No common block size"),
        (["--model=llama-3.1-8b", "--kv-cache-dtype=nvfp4"], Severity.NOTE, "does not know this --kv-cache-dtype"),
        (["--model=llama-3.1-8b", "--max-model-len=$(LENGTH)"], Severity.NOTE, "--max-model-len set from the environ"),
    ],
)
def test_memory_is_judged_where_gpu_and_model_are_known(args: list[str], severity: Severity, text: str) -> None:
    found = one(findings_for(deployment(args=args), gpu=GPUS["L4"]), "GPU memory")
    assert (found.severity, text in found.text) == (severity, True), found


def test_memory_is_not_spoken_of_on_a_cpu() -> None:
    made = deployment(image="vllm/vllm-openai-cpu:v0.32.0", resources={})
    assert about(findings_for(made), "GPU memory") == []


def test_flags_are_checked_where_a_controller_owns_the_pods_too() -> None:
    custom = {**deployment(args=["--num-speculative-tokens=5"]), "apiVersion": "x.example.com/v1", "kind": "Fleet"}
    findings = examine_file(yaml.safe_dump(custom))
    assert [finding.subject for finding in findings] == ["custom-resource", "--num-speculative-tokens=5"]
