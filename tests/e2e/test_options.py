"""The table of vLLM's options is what the real engine's parser says."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.support.cluster import ROOT
from tests.e2e.support.engine import RealEngine


@pytest.mark.engine
def test_the_table_of_options_is_what_the_real_engine_says(vllm: RealEngine) -> None:
    said = subprocess.run(
        [vllm.venv / "bin" / "python", ROOT / "tools" / "vllm_options.py"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert said.stdout == (ROOT / "tuner" / "engines" / "vllm" / "options.json").read_text(encoding="utf-8")
