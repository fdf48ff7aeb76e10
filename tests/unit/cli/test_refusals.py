"""What can't be right ends with exit code 2 and a line that names the field, the value and what is allowed."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Tuner
from tuner.search.document import read_document
from tuner.search.loading import space_file

SIMULATED = ("start", "--simulated", "h100/llama-3.1-8b")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("start",), "name a target: -n NAMESPACE"),
        (("plan",), "name a target: -n NAMESPACE"),
        (("start", "--simulated", "h100"), "'h100' is not GPU/MODEL"),
        (
            ("start", "--simulated", "0xh100/llama-3.1-8b"),
            "count: 0 is too small; allowed: a whole number from 1 to 64",
        ),
        (("start", "--simulated", "[bold]h100/x"), "'x' is not in the catalogue; allowed: Llama-3.1-8B"),
        (("start", "--simulated", "3xl4/llama-3.1-70b"), "count: 3 GPUs can't share the 64 attention heads"),
        (("start", "--simulated", "h100/llama-3.1-70b"), "on 2 GPUs it does: 2xh100/llama-3.1-70b"),
        (("start", "--simulated", "2xl4/llama-3.1-70b"), "tensor_parallel_size=2 does not start on 2 x L4"),
        ((*SIMULATED, "--starts", "99999999999999999999"), "is too large; allowed: a whole number from 1 to 10000"),
        (
            (*SIMULATED, "--prompt-tokens", "1e12"),
            "workload.prompt: 1000000000000.0 is not a whole number; allowed: tok",
        ),
        (("start", "vllm-llama", *SIMULATED[1:]), "--simulated: is given together with DEPLOYMENT; a study has one"),
        ((*SIMULATED, "--starts", "-5"), "--starts: budget.starts: -5 is too small"),
        ((*SIMULATED, "--starts", "1e400"), "--starts: is not a finite number"),
        ((*SIMULATED, "--starts", "3"), "3 is too few; allowed: at least"),
        ((*SIMULATED, "--seed", "99999999999999999999999"), "--seed: 99999999999999999999999 is too large"),
        ((*SIMULATED, "--until", "99999999999999h"), "--until: '99999999999999h'"),
        ((*SIMULATED, "--until", "2020-01-01T00:00"), "is over already"),
        ((*SIMULATED, "--name", "../../etc/passwd"), "--name: '../../etc/passwd' can't be used; allowed: up to 63"),
        ((*SIMULATED, "--slo", ""), "'' is not an SLO; write METRIC STATISTIC <= BOUND"),
        ((*SIMULATED, "--slo", "ttft p95 <= 500"), "a latency needs a unit; allowed: us, ms, s, min"),
        ((*SIMULATED, "--knob", "max_num_seqs=64..16"), "search.knobs.max_num_seqs: low 64 is over high 16"),
        ((*SIMULATED, "--knob", "nothere=3"), "search.knobs.nothere: unknown knob, vllm has no such flag"),
        ((*SIMULATED, "--knob", "=3"), "--knob: '=3'; allowed: NAME=VALUE"),
        ((*SIMULATED, "--knob", "max_num_seqs=[1,2"), "allowed: values of type int"),
        (
            (*SIMULATED, "--prompt-tokens", "140000"),
            "requests need 140128 tokens for a prompt of 140000 and an output of",
        ),
        ((*SIMULATED, "--rate", "nan"), "'nan' is not a number"),
        ((*SIMULATED, "--objective", "headroom"), "objective.rate: missing"),
        ((*SIMULATED, "--prompts-file", "/dev/null"), "'/dev/null' is an empty file"),
        ((*SIMULATED, "-n", "inference"), "--simulated: is given together with --namespace"),
        ((*SIMULATED, "--storage", "garbage"), "--storage: 'garbage' is not a database URL; allowed: sqlite:///PATH"),
        ((*SIMULATED, "--storage", ""), "is not a database URL"),
        ((*SIMULATED, "--storage", "mysql://a:secret@c/d"), "'mysql://a:***@c/d' is not a database tuner can use"),
        (("show", "--storage", "postgresql://a:secret@c:port/d"), "'postgresql://***@c:port/d' is not a database URL"),
        (("start", "-n", "Bad_NS!"), "--namespace: target.kubernetes.namespace: 'Bad_NS!' can't be used"),
        (("start", "-n", ""), "can't be used; allowed: a namespace"),
        (("start", "-n", "a", "--endpoint", "http://user:secret@host"), "names a user or password"),
        (("start", "-n", "a", "--endpoint", "http://host:99999"), "'http://host:99999' names no port: those are whole"),
        (("start", "-n", "a"), "no cluster: neither a kubeconfig"),
        (("doctor",), "no cluster: neither a kubeconfig"),
        (("restore", "vllm"), "no cluster: neither a kubeconfig"),
        (("doctor", "--kubeconfig", "/nothere"), "kubeconfig /nothere: no such file"),
        (("doctor", "--kubeconfig", "/"), "kubeconfig /: can't be read: Is a directory"),
        (("doctor", "--kubeconfig", "/dev/null"), "kubeconfig /dev/null: is no kubeconfig: it needs clusters"),
        (("doctor", "-f", "x.yaml", "-n", "a"), "a file and a cluster are two questions"),
        (("doctor", "-f", "/"), "/: can't be read: Is a directory"),
        (("doctor", "-f", "nothere.yaml"), "nothere.yaml: can't be read: No such file"),
        (("doctor", "--assume-version", "banana", "-f", "x.yaml"), "'banana' is not a version; write one like"),
        (("doctor", "--gpu", "h10", "-f", "x.yaml"), "--gpu: 'h10' is not in the catalogue; allowed: T4"),
        (("doctor", "--model", "nothere.json", "-f", "x.yaml"), "--model: nothere.json: can't be read: No such file"),
        (("start", "-f", "nothere.yaml"), "nothere.yaml: can't be read: No such file"),
        (("start", "-f", "/"), "/: can't be read: Is a directory"),
        (("plan", "--simulated", "h100/llama-3.1-8b", "--set", "max_num_seqs"), "write NAME=VALUE"),
        (("plan", "--simulated", "h100/llama-3.1-8b", "--set", "nothere=1"), "no knob of this study; allowed: max_num"),
        (("plan", *SIMULATED[1:], "--set", "block_size=16", "--set", "block-size=32"), "block_size: is given twice"),
        (
            ("show", "--storage", "/tmp/t.db"),
            "--storage: '/tmp/t.db' is not a database URL; did you mean sqlite:////tmp/t.db?",
        ),
        (("show",), "there is no study yet ("),
        (("export",), "there is no study yet ("),
        (("studies", "--storage", "sqlite:///typo.db"), "typo.db yet; `tuner start` makes one"),
        (("export", "-o", "helm"), "-o helm: unknown format; allowed: strategic-merge, flags, yaml"),
        # What the parser of the command line refuses:
        (("nope",), "No such command 'nope'"),
        (("",), "No such command ''"),
        (("show", "--nope"), "No such option: --nope"),
        (("show", "a", "b"), "unexpected extra argument"),
        (("show", "-o", "xml"), "'-o': 'xml' is not one of 'table', 'wide', 'json', 'yaml'"),
        (("restore",), "Missing argument 'DEPLOYMENT'"),
        (("start", "--yes=5"), "does not take a value"),
        (("plan", "--first", "99"), "less than or equal to 20"),
    ],
)
def test_bad_input_is_refused(tuner: Tuner, arguments: tuple[str, ...], expected: str) -> None:
    said = tuner(*arguments)
    assert said.code == 2
    assert expected in said.err
    assert "secret" not in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"name: \xff\xfe\n", "study.yaml:1: is not UTF-8 text (byte 0xff)"),
        (b"", "study.yaml: is empty; a study names at least its target"),
        (b"just text\n", "study.yaml:1: is a single value"),
        (b"- a\n", "study.yaml:1: is a list"),
        (b"a: " + b"[" * 1200, "study.yaml: is nested too deeply"),
        (b"target: {simulated: h100/llama-3.1-8b}\n---\na: 1\n", "a second YAML document"),
        (b"\xef\xbb\xbftarget: {simulated: h100/llama-3.1-8b}\nbudgets: {}\n", "study.yaml:2: budgets: unknown field"),
        (b"target: {simulated: h100/llama-3.1-8b}\nbudget:\n\tstarts: 3\n", "study.yaml:3: has a tab"),
    ],
)
def test_a_study_that_can_not_be_read_is_refused(tuner: Tuner, content: bytes, expected: str) -> None:
    Path("study.yaml").write_bytes(content)
    said = tuner("start", "-f", "study.yaml")
    assert said.code == 2
    assert expected in said.err


def test_aliases_that_unfold_without_end_are_refused(tuner: Tuner) -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{name}: &{name} [{','.join([f'*{chr(ord(name) - 1)}'] * 9)}]" for name in "bcdefghij"]
    Path("bomb.yaml").write_text("\n".join(lines))
    assert "too large" in tuner("start", "-f", "bomb.yaml").err
    said = tuner("doctor", "-f", "bomb.yaml")
    assert said.code == 1
    assert "its aliases unfold into too much" in said.out


def test_a_study_is_read_from_standard_input(tuner: Tuner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"budget: {starts: none}")))
    said = tuner(*SIMULATED, "-f", "-")
    assert (said.code, said.err.startswith("tuner: -:1: budget.starts: 'none' is not a whole number")) == (2, True)


def test_prompts_that_can_not_be_read_are_refused_before_anything_starts(tuner: Tuner) -> None:
    Path("prompts.jsonl").write_bytes(b"\xfc\xfe")
    said = tuner(*SIMULATED, "--prompts-file", "prompts.jsonl", "--storage", "sqlite:///t.db", "--yes")
    assert said.code == 2
    assert "can't be read as UTF-8 text" in said.err
    assert "trial" not in said.out


@pytest.mark.parametrize("command", ["show", "studies", "export", "apply"])
def test_a_file_that_is_no_database_fails_with_its_name(tuner: Tuner, command: str) -> None:
    Path("corrupt.db").write_bytes(b"no database at all" * 100)
    Path("folder").mkdir()
    for name in ("corrupt.db", "folder"):
        said = tuner(command, "--storage", f"sqlite:///{name}")
        assert said.code == 1
        assert f"/{name}: " in said.err


def test_a_database_without_studies_says_what_makes_one(tuner: Tuner) -> None:
    sqlite3.connect("empty.db").close()
    said = tuner("show", "--storage", "sqlite:///empty.db")
    assert said.code == 2
    assert "there is no study yet; `tuner start` makes one" in said.err


@pytest.mark.parametrize("there", [False, True])
def test_no_studies_are_listed_as_none(tuner: Tuner, there: bool) -> None:
    named: tuple[str, ...] = ()
    if there:
        sqlite3.connect("empty.db").close()
        named = ("--storage", "sqlite:///empty.db")
    assert (tuner("studies", *named).code, tuner("studies", *named).out) == (
        0,
        "no study yet; `tuner start` makes one\n",
    )
    assert json.loads(tuner("studies", *named, "-o", "json").out) == []


def test_a_plan_leaves_nothing_behind_and_needs_no_data_folder(tuner: Tuner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/dev/null")
    Path("study.yaml").write_text(f"target: {{simulated: {SIMULATED[-1]}}}\nstorage: sqlite:///mine.db\n")
    for target in (SIMULATED[1:], ("-f", "study.yaml")):
        said = tuner("plan", *target, "--first", "0")
        assert (said.code, said.err) == (0, "")
    assert sorted(path.name for path in Path().iterdir()) == ["study.yaml"]


def test_a_plan_may_ask_about_what_a_study_would_not_search(tuner: Tuner) -> None:
    said = tuner("plan", *SIMULATED[1:], "--set", "kv_cache_dtype=fp8", "--first", "0")
    assert said.code == 0
    assert "asked for  kv_cache_dtype=fp8\nexpected   " in said.out
    assert "\n\n\n" not in said.out


def test_a_plan_says_where_nothing_better_is_expected_and_what_is_gained_by_what_is_asked(tuner: Tuner) -> None:
    said = tuner("plan", *SIMULATED[1:], "--set", "max_num_seqs=4", "--first", "0")
    assert "No candidate" not in said.out
    assert re.search(r"^expected .* req/s, -\d[\d.]*% against what was found$", said.out, re.MULTILINE)
    dropped = ", ".join(f"{knob.name}: drop" for knob in read_document(space_file("vllm")).knobs)
    Path("study.yaml").write_text(f"target: {{simulated: {SIMULATED[-1]}}}\nsearch: {{knobs: {{{dropped}}}}}\n")
    assert "No candidate is expected to be better" in tuner("plan", "-f", "study.yaml").out


@pytest.mark.parametrize("place", ["/dev/null/x.db", "/proc/x/y.db"])
def test_a_folder_that_can_not_be_made_fails_with_its_name(tuner: Tuner, place: str) -> None:
    said = tuner(*SIMULATED, "--storage", f"sqlite:///{place}", "--yes")
    assert said.code == 1
    assert place in said.err
