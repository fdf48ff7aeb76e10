"""Help, completion and the list of commands."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import shellingham

from tests.unit.cli.conftest import Tuner
from tuner import __version__
from tuner.cli.main import _COMMANDS
from tuner.cli.start import own_command

# What takes long to import, and only running a study needs.
_HEAVY = ("optuna", "sqlalchemy", "pydantic", "kubernetes", "aiohttp", "numpy", "httpx", "rich")


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_that_is_listed_is_there_and_its_help_fits_80_columns(tuner: Tuner, command: str) -> None:
    importlib.import_module(f"tuner.cli.{command.replace('-', '_')}")
    said = tuner(command, "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: tuner {command}")
    assert max(map(len, said.out.splitlines())) <= 80


def test_the_stand_in_s_help_has_its_own_options_and_says_where_vllm_s_are(tuner: Tuner) -> None:
    own = tuner("engine-sim", "--help").out
    assert all(f"--sim-{name} " in own for name in ("gpu", "gpu-count", "model", "seed", "speed", "fail"))
    assert "--max-num-seqs" not in own
    assert "--help=all" in own
    assert "--max-num-seqs" in tuner("engine-sim", "--help=all").out


def test_the_stand_in_asks_for_a_model_where_nothing_names_one(tuner: Tuner) -> None:
    said = tuner("engine-sim")
    assert said.code == 2
    assert "engine-sim: name a model: MODEL or --model; allowed: Llama-3.1-8B, " in said.err


def test_options_stand_under_headings_with_the_name_of_what_they_take(tuner: Tuner) -> None:
    lines = tuner("start", "-h").out.splitlines()
    assert lines.index("Cluster:") < lines.index("Workload and promise:") < lines.index("Options:")
    assert any(line.startswith("  --slo SLO ") for line in lines)
    assert any("-n, --namespace NAMESPACE" in line for line in lines)


def test_help_lists_every_command_with_its_whole_summary(tuner: Tuner) -> None:
    out = tuner("--help").out
    for name, summary in _COMMANDS.items():
        assert f"{name:<10}  {summary}" in out


def test_no_command_at_all_shows_help_and_is_an_error(tuner: Tuner) -> None:
    said = tuner()
    assert said.code == 2
    assert "Commands:" in said.out + said.err


def test_version(tuner: Tuner) -> None:
    assert tuner("--version").out == f"tuner {__version__}\n"


def test_help_and_completion_wait_for_nothing_that_only_a_study_needs() -> None:
    code = f"import sys, tuner.cli.main; print([name for name in {_HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tuner st", {"start", "studies"}),
        ("tuner start --sim", {"--simulated"}),
        ("tuner show -o ", {"table", "wide", "json", "yaml"}),
    ],
)
def test_the_shell_completes_commands_options_and_values(
    tuner: Tuner, monkeypatch: pytest.MonkeyPatch, words: str, expected: set[str]
) -> None:
    monkeypatch.setenv("_TUNER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    assert set(tuner().out.split()) == expected


def test_the_completion_for_a_shell_can_be_shown(tuner: Tuner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shellingham, "detect_shell", lambda: ("bash", "/bin/bash"))  # tests may run below none
    said = tuner("--show-completion")
    assert said.code == 0
    assert "complete" in said.out


def test_a_hint_names_the_command_as_it_can_be_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = tmp_path / "tuner"
    here.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(here)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert own_command() == str(here)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_command() == "tuner"
