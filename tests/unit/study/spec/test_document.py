"""What is no study at all, and YAML that could be read in two ways, is refused with its line."""

from __future__ import annotations

import pytest

from tests.unit.study.spec.conftest import SIMULATED, Refuse


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "study.yaml: is empty"),
        ("# nothing\n", "study.yaml: is empty"),
        ("- a\n- b\n", "study.yaml:1: is a list"),
        ("capacity", "study.yaml:1: is a single value"),
        ("a: 1\nb:\tc: 2\n", "study.yaml:2: "),
        ("budget:\n\tstarts: 1\n", "study.yaml:2: has a tab where YAML takes only spaces"),
        ("a: 1\n---\nb: 2\n", "a file is one study"),
        ("a: [1\n", "study.yaml:2: "),
        ("a: *b\n", "study.yaml:1: found undefined alias 'b'"),
        (b"name: \xff\n", "study.yaml:1: is not UTF-8 text (byte 0xff)"),
        (b"name: a\x00b\n", "study.yaml: is not YAML"),
        ("a: &a [*a]\n", "nested too deeply"),
        ("a: " + "[" * 100 + "]" * 100, "nested too deeply"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{y}: &{y} [{','.join([f'*{x}'] * 10)}]\n" for x, y in zip("abcdefg", "bcdefgh", strict=True)
        ), "too large"),
        ("x" * 1_000_001, "1000001 bytes; a study has at most"),
    ],
)  # fmt: skip
def test_what_is_not_a_study_at_all_is_refused(refuse: Refuse, text: str | bytes, said: str) -> None:
    problems = refuse(text)
    assert len(problems) == 1
    assert said in problems[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budget: {starts: 017}", "study.yaml:2: budget.starts: 017 has a leading zero"),
        ("<<: {seed: 1}", "study.yaml:2: study: merge keys (<<) are not taken"),
        ("? [a]\n: 1", "study.yaml:2: study: a field's name must be plain text"),
        ("seed: !!binary aGk=", "study.yaml:2: seed: aGk= has the tag !binary"),
        ("seed: 1\nseed: 2", "study.yaml:3: seed: is there twice; the first is in line 2"),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_not_guessed(refuse: Refuse, text: str, said: str) -> None:
    problems = refuse(SIMULATED + text)
    assert len(problems) == 1, problems
    assert said in problems[0]
