"""Secrets are blotted out, and what logs say beside them stays readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.core.cause import Cause, Failure
from tuner.core.redact import BLOT, redact
from tuner.engines import engine_named

_ARGUMENTS = (
    "(APIServer pid=1) INFO 11-22 10:01:12 [utils.py:253] non-default args: {'model_tag': 'meta-llama/Llama-3.1-8B', "
    "'api_key': ['k-one', 'k-two'], 'hf_token': 'hushhush', 'max_num_seqs': 64}"
)
_GATED = (
    "OSError: You are trying to access a gated repo. 401 Client Error for url: "
    "https://somebody:pa55@huggingface.co/meta-llama/Llama-3.1-8B/resolve/main/config.json"
)
_PRESIGNED = (
    "requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: https://b.s3.amazonaws.com/model.safetensors"
    "?X-Amz-Date=20261122T100112Z&X-Amz-Security-Token=FwoGZXIvYXdzEJr&X-Amz-Signature=4c31e0ab"
)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("vllm serve m --api-key my-secret-key --port 80", "my-secret-key"),
        ("--api-key=token-abc123", "token-abc123"),
        ("--api_key one two --port 80", "two"),
        ("- --api-key\n- token-abc123\n", "token-abc123"),
        ('["--api-key", "token-abc123"]', "token-abc123"),
        ("--hf-token 'abcdef'", "abcdef"),
        (_ARGUMENTS, "k-two"),
        (_ARGUMENTS, "hushhush"),
        ("non-default args: {'port': 80, 'api_key': ['k-one', 'k-tw", "k-tw"),  # cut off
        ("AsyncEngineArgs(model='m', hf_token='hushhush', seed=0)", "hushhush"),
        ("HF_TOKEN='hush hu", "hush hu"),  # cut off
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("headers={'Authorization': 'Bearer hushhush', 'Accept': '*/*'}", "hushhush"),
        ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("sent with bearer 0123456789abcdef", "0123456789abcdef"),
        ("using hf_AbCdEfGhIjKlMnOp for the hub", "hf_AbCdEfGhIjKlMnOp"),
        ("key sk-proj-0123456789abcdef", "sk-proj-0123456789abcdef"),
        ("fatal: ghp_0123456789abcdefABCDEF was refused", "ghp_0123456789abcdefABCDEF"),
        ("HF_TOKEN=qwertyuiop", "qwertyuiop"),
        ("export AWS_SECRET_ACCESS_KEY='a/b+c'", "a/b+c"),
        ("MY_PASSWORD = hunter22", "hunter22"),
        ("connecting with db_password=hunter22, port=5432", "hunter22"),
        ("x-api-key: 0a1b2c3d", "0a1b2c3d"),
        ('{"env": {"OPENAI_API_KEY": "tell-nobody"}}', "tell-nobody"),
        ("postgresql://user:pa55@db/x", "pa55"),
        ("redis://:pa@55@cache:6379", "55@"),
        ("https://0123456789abcdef0123@github.com/x.git", "0123456789abcdef0123"),
        (_GATED, "pa55"),
        (_PRESIGNED, "4c31e0ab"),
        (_PRESIGNED, "FwoGZXIvYXdzEJr"),
    ],
)
def test_secrets_are_blotted_out(text: str, secret: str) -> None:
    redacted = redact(text)
    assert secret not in redacted
    assert BLOT in redacted
    assert redact(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve m --max-num-seqs 64 --port 80\nKV cache size: 65,536 tokens\nmax_num_batched_tokens=2048",
        "INFO [api_server.py:1828] vLLM API server version 0.11.0 on http://0.0.0.0:8000",
        "args: Namespace(host=None, api_key=None, hf_token=None, hf_overrides={}, ssl_keyfile=None, seed=0)",
        "non-default args: {'hf_overrides': {'rope_scaling': None}, 'api_key': None, 'hf_config_path': '/models'}",
        "SpeculativeConfig(method='eagle3', num_spec_tokens=3), tokenizer='m', eos_token='</s>', pad_token_id=0",
        "OSError: You need a token of somebody with access: pass `token=<your_token>` or run `hf auth login`",
        "AuthenticationError: incorrect API key: expected one of those of --seed",
        "bearer tokens and basic authentication are refused",
        'Error: secret "vllm-key" not found',
        "couldn't find key HF_TOKEN in Secret default/huggingface",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB. GPU 0 has a total capacity of 79.10",
        '10.0.0.7:51234 - "POST /v1/completions HTTP/1.1" 200 OK, sk-1',
        "mailto:somebody@example.com and git@github.com:a/b.git at https://user@host/x",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_what_stands_beside_a_secret_stays() -> None:
    assert redact(_ARGUMENTS) == (
        "(APIServer pid=1) INFO 11-22 10:01:12 [utils.py:253] non-default args: {'model_tag': "
        f"'meta-llama/Llama-3.1-8B', 'api_key': {BLOT}, 'hf_token': {BLOT}, 'max_num_seqs': 64}}"
    )
    assert redact("vllm serve m --api-key k --port 80") == f"vllm serve m --api-key {BLOT} --port 80"
    assert redact(_GATED) == _GATED.replace("pa55", BLOT)


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


def test_an_engine_and_a_failure_redact_by_the_same_rules() -> None:
    failure = Failure(Cause.IMAGE_OR_CONFIG, f"not pulled: {_GATED}", _ARGUMENTS, hint={"max_model_len": 4096})
    clean = failure.redacted()
    assert clean == Failure(failure.cause, redact(failure.message), redact(failure.evidence), hint=failure.hint)
    assert "pa55" not in clean.message
    assert "hushhush" not in clean.evidence
    assert engine_named("vllm").redact(_ARGUMENTS) == clean.evidence
