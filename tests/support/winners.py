"""A study's winner, for tests of what becomes of one."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.core.knob import Candidate, Value
from tuner.study.winner import Winner


def winner(before: Mapping[str, Value], after: Mapping[str, Value], namespace: str = "ns") -> Winner:
    """Of study "night", for Deployment "llm": `after` instead of `before`."""
    return Winner(
        study="night",
        candidate=Candidate.of(after),
        baseline=Candidate.of(before),
        engine="vllm",
        version="0.32.0",
        summary="better by 12.0%",
        date="2026-11-22",
        namespace=namespace,
        deployment="llm",
    )


WINNER = winner({"max_num_seqs": 64}, {"max_num_seqs": 128})
