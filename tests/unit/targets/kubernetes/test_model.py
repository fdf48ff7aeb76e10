"""Which model a command line serves."""

from __future__ import annotations

import pytest

from tuner.targets.kubernetes.model import positional_model


@pytest.mark.parametrize(
    ("line", "model"),
    [
        ("vllm serve meta-llama/Llama-3.1-8B --port 1", "meta-llama/Llama-3.1-8B"),
        ("/opt/venv/bin/vllm serve /models/llama", "/models/llama"),
        ("serve /models/llama --port 1", "/models/llama"),
        ("meta-llama/Llama-3.1-8B --port 1", "meta-llama/Llama-3.1-8B"),
        ("/usr/bin/python3 -m vllm.entrypoints.openai.api_server", None),
        ("vllm serve --model x", None),
        ("--model x", None),
        ("", None),
    ],
)
def test_a_model_is_named_behind_serve_or_first_of_all(line: str, model: str | None) -> None:
    assert positional_model(tuple(line.split())) == model
