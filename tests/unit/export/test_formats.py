from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.core.errors import InvalidInput
from tuner.core.knob import Candidate
from tuner.engines import engine_named
from tuner.export import FORMATS, Result
from tuner.export.document import dump
from tuner.podspec import edit, find_engine

VLLM = engine_named("vllm")
ARGS = ["--model=m/x", "--port", "8000", "--enforce-eager", "--max-num-seqs=$(N)", "--gpu-memory-utilization=0.9"]
WINNER = Candidate.of(
    max_num_batched_tokens=4096, enable_prefix_caching=False, speculative_method="ngram", num_speculative_tokens=3
)


def live(args: list[str] | None = None, **container: Any) -> dict[str, Any]:
    """A Deployment as the API server gives it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "llm",
            "namespace": "serving",
            "uid": "8f0f",
            "resourceVersion": "812",
            "generation": 7,
            "creationTimestamp": "2026-11-20T10:00:00Z",
            "labels": {"app": "llm", "on": "yes"},
            "annotations": {
                "deployment.kubernetes.io/revision": "7",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "tuner.dev/original": "{}",
                "team": "1e3",
            },
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "llm"}},
            "template": {
                "metadata": {
                    "creationTimestamp": None,
                    "labels": {"app": "llm"},
                    "annotations": {"tuner.dev/start": "3"},
                },
                "spec": {
                    "containers": [
                        {"name": "proxy", "image": "envoy:1", "args": ["--x=1"]},
                        {
                            "name": "engine",
                            "image": "vllm/vllm-openai:v0.32.0",
                            "args": ARGS if args is None else args,
                            "env": [{"name": "N", "value": "64"}],
                            **container,
                        },
                    ]
                },
            },
        },
        "status": {"replicas": 1},
    }


def result(deployment: dict[str, Any], winner: Candidate = WINNER, **fields: Any) -> Result:
    syntax = VLLM.syntax()
    template = deployment["spec"]["template"]
    found = find_engine(template, VLLM.owns, syntax)
    baseline, fixed = VLLM.read(found.readable)
    edits = VLLM.spell(winner, baseline, fixed=fixed)
    container = next(entry for entry in template["spec"]["containers"] if entry["name"] == found.name)
    return Result(
        study="s1",
        date="2026-11-22",
        gain="better by 12.0% [+8.1%, +15.9%]\noutput-tokens/s",
        engine="vllm",
        namespace="serving",
        deployment="llm",
        container=found.name,
        original={name: container.get(name) for name in ("command", "args")},
        changed=edit(container, syntax, edits),
        edits=edits,
        selector=deployment["spec"]["selector"],
        **fields,
    )


SPECULATION = '--speculative-config={"method":"ngram","num_speculative_tokens":3,'
NEW = ["--model=m/x", "--port", "8000", "--enforce-eager", "--max-num-seqs=$(N)"]


def test_a_strategic_merge_patch_holds_the_changed_list_by_container_name_and_nothing_else() -> None:
    content = yaml.safe_load(FORMATS["strategic-merge"].write(result(live())))
    (container,) = content["spec"]["template"]["spec"]["containers"]
    assert set(container) == {"name", "args"}
    assert container["name"] == "engine"
    assert container["args"][:5] == NEW
    assert container["args"][5:7] == ["--no-enable-prefix-caching", "--max-num-batched-tokens=4096"]
    assert container["args"][7].startswith(SPECULATION)
    assert len(container["args"]) == 8


def test_the_header_says_where_it_comes_from_what_changed_and_how_to_use_it() -> None:
    text = FORMATS["strategic-merge"].write(result(live()))
    header = [line[2:] for line in text.splitlines() if line.startswith("#")]
    assert header[0] == "Written by tuner on 2026-11-22, from study s1."
    assert "Result: better by 12.0% [+8.1%, +15.9%]" in header
    assert "Changed: --max-num-batched-tokens=4096" in header
    assert "Changed: without --gpu-memory-utilization" in header
    assert "Apply it with: kubectl patch deployment llm -n serving --patch-file FILE" in header


def test_nothing_changed_is_an_empty_patch() -> None:
    deployment = live(args=["--port=1"])
    same = result(deployment, Candidate.of())
    assert yaml.safe_load(FORMATS["strategic-merge"].write(same)) == {}
    assert "# Changed: nothing\n" in FORMATS["strategic-merge"].write(same)
    assert yaml.safe_load(FORMATS["flags"].write(same)) is None


def test_limits_change_with_the_flags_where_asked_for() -> None:
    changed = replace(result(live()), resources={"limits": {"nvidia.com/gpu": "2"}})
    (container,) = yaml.safe_load(FORMATS["strategic-merge"].write(changed))["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": "2"}}
    (container,) = yaml.safe_load(FORMATS["yaml"].write(changed))["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": "2"}}


def test_flags_are_one_line_that_a_shell_takes_apart_as_meant() -> None:
    text = FORMATS["flags"].write(result(live()))
    (line,) = [line for line in text.splitlines() if not line.startswith("#")]
    words = shlex.split(line)
    assert words[:2] == ["--no-enable-prefix-caching", "--max-num-batched-tokens=4096"]
    assert words[2].startswith(SPECULATION)
    assert "# Changed: without --gpu-memory-utilization" in text


def test_a_manifest_names_its_deployment_and_holds_nothing_but_what_changes() -> None:
    text = FORMATS["yaml"].write(result(live()))
    content = yaml.safe_load(text)
    (container,) = content["spec"]["template"]["spec"].pop("containers")
    assert content == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llm", "namespace": "serving"},
        "spec": {"selector": {"matchLabels": {"app": "llm"}}, "template": {"spec": {}}},
    }
    assert set(container) == {"name", "args"}
    assert container["args"][:5] == NEW
    assert "# Apply it with: kubectl apply --server-side --field-manager=tuner --force-conflicts -f FILE\n" in text


@pytest.mark.parametrize("format_", FORMATS)
def test_no_format_carries_the_value_of_a_variable(format_: str) -> None:
    env = [{"name": "HF_TOKEN", "value": "hf_abcdefghijklmnop"}, {"name": "CACHE", "value": "/somewhere"}]
    text = FORMATS[format_].write(result(live(env=env)))
    assert "hf_abc" not in text
    assert "somewhere" not in text


def test_a_patch_that_carries_a_secret_argument_says_so() -> None:
    warned = FORMATS["strategic-merge"].write(result(live(args=["--api-key", "my-secret-key", "--port=1"])))
    assert "looks like a secret" in warned
    assert "my-secret-key" not in "".join(line for line in warned.splitlines() if line.startswith("#"))
    assert "my-secret-key" not in FORMATS["flags"].write(result(live(args=["--api-key", "my-secret-key"])))
    assert "looks like a secret" not in FORMATS["strategic-merge"].write(result(live()))
    assert "looks like a secret" in FORMATS["yaml"].write(result(live(args=["--api-key", "my-secret-key", "--port=1"])))


def test_a_manifest_needs_a_deployment_that_was_looked_at() -> None:
    with pytest.raises(InvalidInput, match="use -o flags"):
        FORMATS["yaml"].write(replace(result(live()), selector={}))


TEXT = st.one_of(
    st.sampled_from(
        [
            "on",
            "No",
            "y",
            "~",
            "null",
            "1_000",
            "12:30",
            "0x1F",
            "0o7",
            "010",
            "1e3",
            ".5",
            "-1",
            "",
            " ",
            "a: b",
            "#x",
            "--x=#y",
            "--a={\"b\": 'c'}",
            "a #b",
            "- x",
            "&a",
            "*a",
            "!t",
            "%d",
            "@x",
            "`",
            "é",
            "a\nb\n",
            "a\n b",
            "x" * 300,
        ]
    ),
    st.text(max_size=12),
)


@given(st.dictionaries(TEXT, st.lists(TEXT, max_size=4), max_size=3))
@settings(max_examples=200, deadline=None)
def test_text_stays_text_under_the_yaml_that_kubernetes_reads(content: dict[str, list[str]]) -> None:
    assert yaml.safe_load(dump(content)) == content
