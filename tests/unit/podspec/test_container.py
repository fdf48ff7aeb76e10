from __future__ import annotations

from typing import Any

import pytest

from tests.unit.podspec.syntax import SYNTAX, owns
from tuner.core.errors import Refused
from tuner.podspec import Shape, UnsupportedShape, find_engine
from tuner.podspec.container import accelerators
from tuner.podspec.launch import Launch, launch

GPU = {"limits": {"nvidia.com/gpu": "2", "memory": "8Gi"}}


def engine(**fields: Any) -> dict[str, Any]:
    return {"name": "engine", "image": "vllm/vllm-openai:v0.9.2", "args": ["--max-num-seqs=64"], **fields}


def pod(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": list(containers)}}


def refused(template: dict[str, Any]) -> tuple[Shape, str]:
    with pytest.raises(UnsupportedShape) as caught:
        find_engine(template, owns, SYNTAX)
    assert isinstance(caught.value, Refused)
    assert caught.value.unsupported.instead in str(caught.value)
    return caught.value.unsupported.shape, caught.value.unsupported.reason


def test_the_engine_is_found_by_what_it_is_not_by_its_place() -> None:
    sidecar = {"name": "fetch", "image": "busybox", "command": ["/bin/sh", "-c"], "args": ["sleep infinity"]}
    found = find_engine(
        pod(
            sidecar,
            engine(
                resources=GPU,
                ports=[{"containerPort": 8000}, {"name": "metrics", "containerPort": 9000}],
                env=[{"name": "TOKEN", "value": "hf_secret"}, {"name": "X", "valueFrom": {}}],
            ),
        ),
        owns,
        SYNTAX,
    )
    assert (found.name, found.image, found.field, found.gpu_count) == ("engine", "vllm/vllm-openai:v0.9.2", "args", 2)
    assert (found.ports, found.env_names) == ((8000, 9000), ("TOKEN", "X"))
    assert [(use.name, use.value) for use in found.uses] == [("max-num-seqs", "64")]
    assert "hf_secret" not in repr(found)


def test_of_two_engine_images_the_one_with_the_gpu_is_taken() -> None:
    router = {"name": "router", "image": "vllm/vllm-openai:v1", "command": ["python3", "-m", "router"]}
    assert find_engine(pod(router, engine(resources=GPU)), owns, SYNTAX).name == "engine"


def test_several_engines_are_refused_by_name() -> None:
    shape, reason = refused(pod(engine(name="prefill", resources=GPU), engine(name="decode", resources=GPU)))
    assert shape is Shape.SEVERAL_ENGINES
    assert "prefill, decode" in reason


def test_no_engine_is_refused_with_what_was_found() -> None:
    shape, reason = refused(pod({"name": "a", "image": "nginx"}, {"name": "b", "image": "redis"}))
    assert shape is Shape.NO_ENGINE
    assert "a, b" in reason


def test_an_unknown_image_that_takes_the_engine_s_flags_on_a_gpu_is_the_engine() -> None:
    args = ["--model=m", "--max-num-seqs", "8", "--gpu-memory-utilization=0.9", "--port=1", "--removed-flag=x"]
    own = {"name": "server", "image": "example.com/llm:1", "args": args, "resources": GPU}
    assert find_engine(pod({"name": "proxy", "image": "envoy"}, own), owns, SYNTAX).name == "server"
    assert refused(pod({**own, "resources": {}}))[0] is Shape.NO_ENGINE


@pytest.mark.parametrize(
    ("command", "args", "field", "names"),
    [
        (None, ["--port=1"], "args", ["port"]),
        (None, None, "args", []),
        (["vllm", "serve", "m", "--port=1"], None, "command", ["port"]),
        (["vllm", "serve", "m"], ["--port", "1"], "args", ["port"]),
        (["vllm", "serve", "--port=1"], ["m"], "args", ["port"]),
        (
            ["tini", "-g", "--", "env", "A=1", "/usr/bin/python3.11", "-u", "-m", "vllm.entrypoints.x"],
            ["-tp", "2"],
            "args",
            ["tp"],
        ),
    ],
)
def test_flags_are_read_from_command_and_args(
    command: list[str] | None, args: list[str] | None, field: str, names: list[str]
) -> None:
    found = find_engine(pod(engine(command=command, args=args)), owns, SYNTAX)
    assert (found.field, [use.name for use in found.uses]) == (field, names)


def test_values_from_the_environment_are_told_apart() -> None:
    found = find_engine(pod(engine(args=["--model=/m/$(A)/$(B)", "--max-num-seqs", "$(N)", "--port=1"])), owns, SYNTAX)
    assert found.referenced == {"model": ("A", "B"), "max-num-seqs": ("N",)}
    assert [use.name for use in found.readable] == ["port"]


@pytest.mark.parametrize(
    ("resources", "count"),
    [
        ({"limits": {"nvidia.com/gpu": 1}}, 1),
        ({"limits": {"cpu": "2"}, "requests": {"amd.com/gpu": "4"}}, 4),
        ({"limits": {"nvidia.com/mig-1g.10gb": 1, "nvidia.com/mig-2g.20gb": 1}}, 2),
        ({"limits": {"habana.ai/gaudi": 8, "memory": "8Gi"}}, 8),
        ({}, 0),
        (None, 0),
    ],
)
def test_gpus_are_counted_from_the_limits(resources: dict[str, Any] | None, count: int) -> None:
    assert sum(accelerators({"resources": resources}).values()) == count


@pytest.mark.parametrize(
    ("fields", "shape", "says"),
    [
        ({"command": ["/bin/sh", "-c"], "args": ["vllm serve m --port 1"]}, Shape.SHELL_STRING, "sh -c"),
        ({"command": ["bash", "-exc", "exec vllm serve m"]}, Shape.SHELL_STRING, "bash -c"),
        ({"command": ["sh", "-c", 'eval "vllm serve $@"']}, Shape.SHELL_STRING, "eval"),
        ({"command": ["bash", "-c", "cat <<EOF > c.yaml\nEOF\nvllm serve"]}, Shape.SHELL_STRING, "configuration file"),
        ({"args": ["-c", "#!/bin/sh\nvllm serve m --port 1"]}, Shape.SHELL_STRING, "multi-line script"),
        ({"command": ["bash", "-c", "ray start --head && vllm serve m"]}, Shape.RAY, "Ray"),
        ({"command": ["ray", "start"]}, Shape.RAY, "ray"),
        ({"command": ["/entrypoint.sh"]}, Shape.WRAPPER_SCRIPT, "entrypoint.sh"),
        ({"command": ["/bin/bash", "/opt/launch.sh", "--max-num-seqs=1"]}, Shape.WRAPPER_SCRIPT, "launch.sh"),
        ({"command": ["python3", "/app/serve.py"]}, Shape.WRAPPER_SCRIPT, "serve.py"),
        ({"env": [{"name": "EXTRA_ARGS", "value": "--max-num-seqs 4"}]}, Shape.ENV_FLAGS, "EXTRA_ARGS"),
        ({"command": ["/x.sh"], "env": [{"name": "VLLM_ADDITIONAL_ARGS"}]}, Shape.ENV_FLAGS, "VLLM_ADDITIONAL_ARGS"),
        ({"args": ["--config", "/etc/vllm.yaml"]}, Shape.CONFIG_FILE, "--config"),
        ({"args": ["--config=/etc/vllm.yaml"]}, Shape.CONFIG_FILE, "--config"),
        ({"args:": ["--port=1"]}, Shape.TYPO, "did you mean 'args'"),
        ({"arguments": ["--port=1"]}, Shape.TYPO, "did you mean 'args'"),
        ({"cmd": ["vllm"]}, Shape.TYPO, "did you mean 'command'"),
        ({"args": ["-- max-model-len=2048"]}, Shape.TYPO, "write --max-model-len"),
        ({"args": ["gpu-memory-utilization=0.85"]}, Shape.TYPO, "has no dashes"),
        ({"args": ["--max-model-len 2048"]}, Shape.TYPO, "one item"),
        ({"args": ["–max-model-len=2048"]}, Shape.TYPO, "not the hyphen"),
        ({"args": ["vllm serve m --port 1"]}, Shape.TYPO, "a whole command line is one item"),
        ({"args": "--port=1"}, Shape.MALFORMED, "not a list"),
        ({"args": ["--port", 8000]}, Shape.MALFORMED, "quote it"),
    ],
)
def test_shapes_that_cannot_be_edited_are_refused_by_name(fields: dict[str, Any], shape: Shape, says: str) -> None:
    found, reason = refused(pod(engine(**fields)))
    assert found is shape
    assert says in reason


def test_no_refusal_quotes_an_environment_value() -> None:
    _, reason = refused(pod(engine(env=[{"name": "EXTRA_ARGS", "value": "--api-key sk-secret"}])))
    assert "sk-secret" not in reason


@pytest.mark.parametrize(
    "fields",
    [
        {"env": [{"name": "VLLM_EXTRA_ARGS", "value": "--x"}], "command": ["vllm", "serve"]},  # nobody reads it
        {"env": [{"name": "NCCL_ARGS", "value": "--x"}]},
        {"args": ["/gcs/$(MODEL_ID)", "--port=1"]},
        {"args": ["a/model", "--speculative-config", '{"method": "x --y"}']},
    ],
)
def test_shapes_that_only_look_odd_are_read(fields: dict[str, Any]) -> None:
    assert find_engine(pod(engine(**fields)), owns, SYNTAX).name == "engine"


@pytest.mark.parametrize("template", [{}, {"spec": {}}, {"spec": {"containers": []}}, {"spec": {"containers": ["x"]}}])
def test_a_template_without_containers_is_malformed(template: dict[str, Any]) -> None:
    assert refused(template)[0] is Shape.MALFORMED


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["vllm", "serve", "m"], Launch("vllm", 1)),
        (["--model", "m"], Launch("", 0)),
        ([], Launch("", 0)),
        (["python3", "-m", "vllm.entrypoints.x", "--a"], Launch("python3", 3, module="vllm.entrypoints.x")),
        (["/usr/bin/env", "-u", "X", "A=b", "vllm"], Launch("vllm", 5)),
        (["numactl", "-N", "0", "--membind=0", "vllm"], Launch("vllm", 5)),
        (["taskset", "-c", "0-3", "vllm", "serve"], Launch("vllm", 4)),
        (["sh", "-c", "--", "vllm serve"], Launch("sh", 4, inline="vllm serve")),
        (["bash", "-lc", "x"], Launch("bash", 3, inline="x")),
        (["bash", "-o", "pipefail", "-c", "x"], Launch("bash", 5, inline="x")),
        (["python", "-c", "import x"], Launch("python", 3, inline="import x")),
        (["bash", "run.sh", "--a"], Launch("bash", 2, script="run.sh")),
        (["bash", "-x"], Launch("bash", 2)),
    ],
)
def test_the_words_that_start_the_engine_are_not_its_arguments(argv: list[str], expected: Launch) -> None:
    assert launch(argv) == expected
