"""Lengths that were counted, one by one or as a histogram, are read from a CSV file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.core.errors import InvalidInput
from tuner.core.workload import Lengths, Pair
from tuner.probe.workload.lengths import read_pairs, summary


def test_a_list_of_requests_and_a_histogram_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("prompt,output\n512,10\n512,10\n20,5\n")
    (tmp_path / "histogram.csv").write_text("weight,output,prompt\n2,10,512\n1,5,20\n")
    expected = (Pair(512, 10, 2.0), Pair(20, 5, 1.0))
    assert read_pairs(str(tmp_path / "list.csv")) == read_pairs(str(tmp_path / "histogram.csv")) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["1: lacks the column prompt and output"]),
        ("prompt,answer\n1,2\n", ["1: lacks the column output; allowed: a first line with prompt, output"]),
        ("prompt,output\n", [" holds no lengths"]),
        ("prompt,output\n0,5\nx,5\n5\n", ["2: prompt is 0", '3: prompt is "x"', "4: has 1 values; allowed: 2"]),
        ("prompt,output,weight\n1,5,-2\n1,5,nan\n", ['2: weight is "-2"; allowed: a number over 0', "3: weight is"]),
    ],
)
def test_mistakes_are_told_together_with_their_lines(tmp_path: Path, text: str, said: list[str]) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text(text)
    with pytest.raises(InvalidInput) as refusal:
        read_pairs(str(path))
    found = [problem.removeprefix(f"{path}:") for problem in refusal.value.problems]
    assert [problem.startswith(begin) for problem, begin in zip(found, said, strict=True)] == [True] * len(said), found


def test_lengths_are_summed_up_by_mean_and_spread() -> None:
    assert summary([100, 300], [1, 1]) == Lengths(200, 0.5)
    assert summary([100, 300], [3, 1]).mean == 150
    assert summary([7]) == Lengths(7, 0.0)
