"""With the model's tokenizer prompts have exactly the tokens that were asked for."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tokenizers

from tuner.core.cause import TrialFailed
from tuner.core.errors import InvalidInput
from tuner.core.workload import Lengths, Load, Workload
from tuner.probe.workload.prompts import WORDS
from tuner.probe.workload.requests import Requests
from tuner.probe.workload.tokenizer import Tokenizer

OPEN = Load(rate=10)


def count(text: str) -> int:
    """A tokenizer that knows words of up to four letters, and takes two tokens for longer ones."""
    return sum(1 if len(word) <= 4 else 2 for word in text.split())


KNOWN = Tokenizer("tokenizer.json", count)


def requests(workload: Workload, tokenizer: Tokenizer = KNOWN) -> Requests:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tokenizer, "load", lambda path: replace(tokenizer, path=path))
        return Requests.of(replace(workload, tokenizer="tokenizer.json"), 1, 0, True)


def test_prompts_have_exactly_their_tokens() -> None:
    source = requests(Workload(Lengths(300, 0.5), Lengths(4), shared_prefix=77))
    assert KNOWN.words
    assert set(KNOWN.words) < set(WORDS)
    for planned in source.draw(OPEN, 50):
        assert count(str(planned.text)) == planned.prompt_tokens


def test_only_what_the_server_adds_is_learnt_from_it() -> None:
    source = requests(Workload(Lengths(300, 0.5), Lengths(4)))
    source.calibrate([(20, 26), (80, 86)])
    for planned in source.draw(OPEN, 50):
        assert count(str(planned.text)) + 6 == planned.prompt_tokens


def test_the_tokenizer_of_another_model_is_noticed() -> None:
    source = requests(Workload())
    with pytest.raises(TrialFailed, match=r"is not the served model's: what is one token by it is 1\.3 there"):
        source.calibrate([(20, 27), (80, 105)])


def test_prompts_of_a_file_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "a word and something"}) + "\n")
    workload = Workload(output=Lengths(9), prompts_file=str(path))
    source = requests(workload)
    assert [planned.prompt_tokens for planned in source.draw(OPEN, 2)] == [5, 5]
    assert source.source.largest == (5, 9)


def test_a_tokenizer_that_knows_no_words_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidInput, match=r"workload.tokenizer: tokenizer.json has no single tokens"):
        requests(Workload(), Tokenizer("bytes.json", len))


def test_without_its_package_a_tokenizer_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InvalidInput, match=r"pip install 'tuner\[tokenizer\]', or leave it out"):
        Tokenizer.load("tokenizer.json")


def test_a_real_tokenizer_counts_and_what_is_none_is_refused(tmp_path: Path) -> None:
    vocabulary = {word: index for index, word in enumerate(("[unk]", *WORDS))}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[unk]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer.load(str(tmp_path / "tokenizer.json")).words == WORDS
    (tmp_path / "other.json").write_text("{}")
    for name in ("other.json", "missing.json"):
        with pytest.raises(InvalidInput, match=f"{name} is no tokenizer.json"):
            Tokenizer.load(str(tmp_path / name))
