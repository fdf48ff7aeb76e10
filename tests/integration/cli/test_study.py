"""A whole study through the command line, and every way to look at it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.command_line import Said, call, command
from tests.support.studies import SMALL, SMALL_BUDGET
from tuner.study.units import number

pytestmark = pytest.mark.usefixtures("studied")


def _json(*arguments: str) -> Any:
    said = call(*arguments, "-o", "json")
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_a_pipe_gets_plain_lines_from_the_first_trial_to_the_answer(small: tuple[str, Said]) -> None:
    lines = small[1].out.splitlines()
    assert not any("\x1b" in line or line != line.rstrip() for line in lines)
    assert "trial   0  baseline  max_num_seqs=2  [found on the target]" in lines
    assert lines.count("trial   0    loading model") == 1
    (searched,) = (line for line in lines if line.startswith("knobs  "))
    assert "max_num_seqs" in searched
    assert "fixed     block_size=32" in lines
    assert "block_size" not in searched
    assert any(line.startswith("answer  ") for line in lines)


def test_json_and_yaml_of_a_study_agree_with_each_other_and_with_the_list() -> None:
    shown = _json("show")
    for trial in shown["trials"]:
        for level in trial["levels"]:
            assert len(level.pop("quantiles")["ttft"]) > 100  # the series are in JSON only
            assert sum(level.pop("timeline")["sent"]) >= level["requests"]
    assert YAML(typ="safe").load(call("show", "small", "-o", "yaml").out) == shown
    (listed,) = _json("studies")
    assert listed == {key: shown[key] for key in listed}
    assert shown["name"] == "small"
    assert shown["state"] == "finished"
    assert [trial["number"] for trial in shown["trials"]] == list(range(len(shown["trials"])))
    assert shown["starts"] == sum(trial["outcome"] != "screened" for trial in shown["trials"])


@pytest.mark.parametrize("output", ["table", "wide"])
def test_the_tables_show_every_trial_on_a_line_of_its_own(output: str) -> None:
    lines = call("show", "-o", output).out.splitlines()
    rows = lines[lines.index("") + 2 :]
    assert [line.split()[:2] for line in rows] == [[str(t["number"]), t["kind"]] for t in _json("show")["trials"]]
    assert not any("\x1b" in line for line in lines)


def test_the_shell_completes_the_names_of_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TUNER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_CWORD", "2")
    for words, expected in (("tuner show ", "small"), ("tuner export sm", "small"), ("tuner show x", "")):
        monkeypatch.setenv("COMP_WORDS", words)
        assert call().out.strip() == expected


def test_a_study_that_was_asked_for_as_json_prints_nothing_else(studied: Path) -> None:
    said = call("start", *SMALL, *SMALL_BUDGET, "--storage", "sqlite:///mine.db", "-o", "json")
    assert said.code == 0
    assert said.err == ""
    assert json.loads(said.out)["state"] == "finished"
    assert (studied / "mine.db").exists()


def test_the_answer_is_told_in_the_objective_s_unit_too() -> None:
    shown = _json("show")["result"]
    low, high = (geometric_mean(shown[f"{side}_values"]) for side in ("baseline", "finalist"))
    (line,) = (line for line in call("show").out.splitlines() if line.startswith("measured "))
    values = f"{number(low)} -> {number(high)} output-tokens/s ({number(low / 16)} -> {number(high / 16)} req/s)"
    assert line.split(maxsplit=1)[1] == values


def test_a_winner_is_exported_as_the_flags_that_change() -> None:
    winner = _json("show")["result"]["finalist"]
    said = call("export", "small", "-o", "flags")
    assert (said.code, said.err) == (0, "")
    assert f"--max-num-seqs={winner['max_num_seqs']}" in said.out.split()


def test_a_simulated_winner_is_applied_to_nothing() -> None:
    said = call("apply", "small")
    assert (said.code, said.out) == (2, "")
    assert "its target was simulated" in said.err


def test_a_plan_is_the_same_as_json_and_yaml() -> None:
    question = ("plan", "--simulated", "h100/llama-3.1-8b", "--set", "max_num_seqs=8", "--first", "1")
    assert YAML(typ="safe").load(call(*question, "-o", "yaml").out) == _json(*question)


def test_the_doctor_says_the_same_in_every_format_and_fails_on_what_keeps_an_engine_from_starting() -> None:
    Path("engine.yaml").write_text(_DEPLOYMENT)
    said = call("doctor", "-f", "engine.yaml", "-o", "json")
    assert said.code == 1
    findings = json.loads(said.out)
    assert any(one["severity"] == "blocker" and "gpu-memory-utilization" in str(one) for one in findings)
    assert YAML(typ="safe").load(call("doctor", "-f", "engine.yaml", "-o", "yaml").out) == findings
    table = call("doctor", "-f", "engine.yaml").out
    assert all(one["text"] in table for one in findings)


@pytest.mark.parametrize(
    ("call_in_a_shell", "code"), [("{} > /dev/full", 1), ("{} >&-", 0), ("{} -o json | head -1", 0)]
)
def test_output_that_nobody_takes_is_no_traceback(call_in_a_shell: str, code: int) -> None:
    shell = call_in_a_shell.format(" ".join(command("show", "small")))
    done = subprocess.run(
        ["bash", "-c", shell], env=os.environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("output", ["table", "wide", "json", "yaml"])
def test_a_reader_that_is_gone_ends_the_command_without_a_word(output: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    shown = subprocess.run(
        command("show", "small", "-o", output),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (shown.returncode, shown.stderr) == (1, "")


def test_a_study_goes_on_when_its_reader_leaves_and_ends_as_output_that_could_not_be_written() -> None:
    running = subprocess.Popen(
        command("start", *SMALL, *SMALL_BUDGET, "--new", "--name", "unread"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stderr is not None
    while not running.stdout.readline().startswith("trial   0"):
        pass
    running.stdout.close()
    with running.stderr:
        assert running.stderr.read() == ""
    assert running.wait(timeout=60) == 1
    assert json.loads(call("show", "unread", "-o", "json").out)["state"] == "finished"


_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: engine}
spec:
  selector: {matchLabels: {app: engine}}
  template:
    metadata: {labels: {app: engine}}
    spec:
      containers:
        - name: engine
          image: vllm/vllm-openai:v0.12.0
          args: [--model=meta-llama/Llama-3.1-8B-Instruct, --gpu-memory-utilisation=0.9]
          resources: {limits: {nvidia.com/gpu: 1}}
"""
