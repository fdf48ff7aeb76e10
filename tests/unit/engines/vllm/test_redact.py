"""Secrets do not leave the engine module."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.engines import engine_named

VLLM = engine_named("vllm")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("vllm serve m --api-key my-secret-key --port 80", "my-secret-key"),
        ("--api-key=token-abc123", "token-abc123"),
        ("--api_key one two --port 80", "two"),
        ("- --api-key\n- token-abc123\n", "token-abc123"),
        ('["--api-key", "token-abc123"]', "token-abc123"),
        ("--hf-token 'abcdef'", "abcdef"),
        ("non-default args: {'api_key': ['k1', 'k2'], 'port': 80}", "k2"),
        ("AsyncEngineArgs(model='m', hf_token='hushhush', seed=0)", "hushhush"),
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("using hf_AbCdEfGhIjKlMnOp for the hub", "hf_AbCdEfGhIjKlMnOp"),
        ("key sk-proj-0123456789abcdef", "sk-proj-0123456789abcdef"),
        ("HF_TOKEN=qwertyuiop", "qwertyuiop"),
        ("export AWS_SECRET_ACCESS_KEY='a/b+c'", "a/b+c"),
        ("MY_PASSWORD = hunter22", "hunter22"),
        ("postgresql://user:pa55@db/x", "pa55"),
    ],
)
def test_secrets_are_blotted_out(text: str, secret: str) -> None:
    redacted = VLLM.redact(text)
    assert secret not in redacted
    assert VLLM.redact(redacted) == redacted


def test_what_is_no_secret_stays() -> None:
    text = "vllm serve m --max-num-seqs 64 --port 80\nKV cache size: 65,536 tokens\nmax_num_batched_tokens=2048"
    assert VLLM.redact(text) == text
    assert "--port 80" in VLLM.redact("vllm serve m --api-key k --port 80")


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = VLLM.redact(text)
    assert VLLM.redact(once) == once
