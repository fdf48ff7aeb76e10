"""A winner as flags alone, where nobody looks at a Deployment."""

from __future__ import annotations

from tuner.core.knob import Candidate
from tuner.export import FORMATS
from tuner.study.winner import Winner, as_flags

BASELINE = Candidate.of(max_num_seqs=64, speculative_method="ngram", num_speculative_tokens=3, block_size=32)


def flags(winner: Candidate, baseline: Candidate = BASELINE) -> str:
    return FORMATS["flags"].write(as_flags(Winner("s", winner, baseline, "vllm", "0.32.0", "better", "d", "", "")))


def test_flags_that_the_winner_takes_away_are_named() -> None:
    text = flags(Candidate.of(max_num_seqs=64, speculative_method="off"))
    changed = [line for line in text.splitlines() if line.startswith("# Changed: ")]
    assert changed == ["# Changed: without --block-size", "# Changed: without --speculative-config"]


def test_what_was_not_there_is_not_taken_away() -> None:
    assert flags(Candidate.of(max_num_seqs=128), Candidate.of(max_num_seqs=64)).splitlines()[2:] == [
        "# Changed: --max-num-seqs=128",
        "--max-num-seqs=128",
    ]
