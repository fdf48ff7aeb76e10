"""A study from its file and its defaults; every mistake is told at once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.study.spec.conftest import NOW, SIMULATED, Load, Refuse
from tuner.core.errors import InvalidInput
from tuner.study.spec import StudySpec
from tuner.study.spec.load import default_storage, load_spec

_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_anything = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def test_sections_of_which_every_line_is_commented_out_say_nothing(load: Load) -> None:
    assert load(SIMULATED + "budget:\n  # starts: 12\nsearch:\nslos:\n").budget.starts == 20


def test_many_mistakes_are_told_at_once_each_with_its_line(refuse: Refuse) -> None:
    problems = refuse(
        """\
name: My Study
target: {simulated: h10/llama-3.1-8b}
slos:
  - ttft p95 <= 500
objective: {kind: throughput}
objektive: capacity
workload: {prefix_groups: 4}
budget:
  starts: 3
  pairs: true
""",
        seed="x",
    )
    for expected in (
        r"study.yaml:1: name: 'My Study' can't be used; allowed: ",
        r"study.yaml:2: target.simulated.gpu: 'h10' is not in the catalogue; allowed: .*H100",
        r"study.yaml:4: slos\[0\]: 'ttft p95 <= 500': a latency needs a unit; allowed: us, ms, s, min",
        r"study.yaml:5: objective.concurrency: missing; .*64",
        r"study.yaml:6: objektive: unknown field; did you mean objective\?",
        r"study.yaml:7: workload.prefix_groups: 4 has no meaning without workload.shared_prefix",
        r"study.yaml:10: budget.pairs: true is not a whole number; allowed: a whole number from 2 to 100",
        r"--seed: 'x' is not a whole number; allowed: a whole number from 0 to 4294967295",
    ):
        assert any(re.match(expected, problem) for problem in problems), (expected, problems)
    assert len(problems) == 8


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InvalidInput, match=f"{path}: can't be read: {said}"):
            load_spec(path, {})


@given(st.sampled_from(sorted(StudySpec.model_fields)), _anything)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_field_holds_the_study_is_taken_or_refused_with_reasons(
    tmp_path: Path, name: str, value: object
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps({"target": {"simulated": "l4/qwen3-8b"}, name: value}), encoding="utf-8")
    spec, problems = None, ()
    try:
        spec = load_spec(path, {}, now=NOW)
    except InvalidInput as error:
        problems = error.problems
    assert (spec is None) == bool(problems)
    assert all(problem.startswith(f"{path}") for problem in problems)
    if spec is not None:
        assert StudySpec.from_dict(json.loads(json.dumps(spec.to_dict(), allow_nan=False))).seed == spec.seed


def test_studies_go_to_the_data_folder_by_default(tmp_path: Path) -> None:
    assert default_storage({}, tmp_path) == f"sqlite:///{tmp_path}/.local/share/tuner/tuner.db"
    assert default_storage({"XDG_DATA_HOME": "/data"}, tmp_path) == "sqlite:////data/tuner/tuner.db"
    assert default_storage({"XDG_DATA_HOME": "relative"}, tmp_path).startswith(f"sqlite:///{tmp_path}")
    spec = load_spec(None, {"simulated": "l4/qwen3-8b"}, default_storage="sqlite:////d/t.db")
    assert spec.storage == "sqlite:////d/t.db"
    spec = load_spec(
        None, {"simulated": "l4/qwen3-8b", "storage": "sqlite:////e.db"}, default_storage="sqlite:////d.db"
    )
    assert spec.storage == "sqlite:////e.db"
