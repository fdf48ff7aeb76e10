"""The examples load, and the docs tell of every field and every option."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.study.spec.conftest import NOW, Load
from tests.unit.study.spec.paths import field_paths
from tuner.study.spec import StudySpec, load_spec
from tuner.study.spec.options import OPTIONS

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_example_studies_load(path: Path) -> None:
    spec = load_spec(path, {}, now=NOW)
    assert spec.assumed == []
    assert spec.warnings == []


def test_the_docs_tell_of_every_field_and_every_option_and_of_no_other() -> None:
    text = (ROOT / "docs" / "spec.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \|", text, re.MULTILINE)
    leaves = [
        path for path in field_paths(StudySpec) if not any(p.startswith(f"{path}.") for p in field_paths(StudySpec))
    ]
    lengths = {"workload.prompt", "workload.output"}
    expected = {leaf for leaf in leaves if leaf.rpartition(".")[0] not in lengths} | lengths
    assert set(rows) == expected
    assert set(re.findall(r"`--([a-z-]+)`", text)) == set(OPTIONS) - {"deployment"}  # which is the argument


def test_the_examples_in_the_docs_load(load: Load) -> None:
    text = (ROOT / "docs" / "spec.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        load(example)
