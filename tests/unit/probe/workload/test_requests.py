from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tuner.core.errors import InvalidInput
from tuner.core.workload import Arrival, Lengths, Load, Pair, Part, Shape, Workload
from tuner.probe.workload.prompts import Calibration, random_words, read_prompts
from tuner.probe.workload.requests import Requests

OPEN, CLOSED = Load(rate=10), Load(concurrency=4)


def requests(workload: Workload, seed: int = 1, pattern_seed: int = 0, *, text: bool = True) -> Requests:
    return Requests.of(workload, seed, pattern_seed, text)


def test_lengths_are_fixed_or_log_normal() -> None:
    fixed = requests(Workload(Lengths(100), Lengths(20)), text=False).draw(OPEN, 30)
    drawn = requests(Workload(Lengths(400, 0.5), Lengths(100, 1.0)), text=False).draw(OPEN, 4000)
    prompts, outputs = np.array([(r.prompt_tokens, r.output_tokens) for r in drawn]).T

    assert {(r.prompt_tokens, r.output_tokens) for r in fixed} == {(100, 20)}
    assert prompts.mean() == pytest.approx(400, rel=0.05)
    assert prompts.std() == pytest.approx(200, rel=0.1)
    assert outputs.mean() == pytest.approx(100, rel=0.08)
    assert outputs.min() >= 1


def test_levels_share_their_pattern_but_never_their_texts() -> None:
    source = requests(Workload(Lengths(60, 0.5), Lengths(20, 0.5)))
    one, two = source.draw(OPEN, 40), source.draw(OPEN, 40)

    assert [(r.arrival_s, r.prompt_tokens, r.output_tokens) for r in one] == [
        (r.arrival_s, r.prompt_tokens, r.output_tokens) for r in two
    ]
    texts = [r.text for r in (*one, *two)]
    assert len(set(texts)) == len(texts)


def test_equal_seeds_give_equal_levels_and_other_seeds_other_texts() -> None:
    workload = Workload(Lengths(60, 0.5), Lengths(20))

    assert requests(workload, -5).draw(OPEN, 10) == requests(workload, -5).draw(OPEN, 10)
    assert requests(workload, 5).draw(OPEN, 10)[0].text != requests(workload, 6).draw(OPEN, 10)[0].text
    assert requests(workload, 5, 1).draw(OPEN, 10)[0].arrival_s != requests(workload, 5, 2).draw(OPEN, 10)[0].arrival_s


def test_prefixes_are_shared_within_a_group_and_between_levels_but_not_between_starts() -> None:
    workload = Workload(Lengths(20), Lengths(4), shared_prefix=30, prefix_groups=3)
    source = requests(workload)
    groups: dict[int, set[str]] = {}
    for planned in (*source.draw(OPEN, 60), *source.draw(OPEN, 60)):
        assert planned.text is not None
        assert planned.prompt_tokens == 50
        assert planned.prefix_tokens == 30
        groups.setdefault(planned.prefix[0].id[-1], set()).add(" ".join(planned.text.split()[:30]))

    assert len(groups) == 3
    assert all(len(prefixes) == 1 for prefixes in groups.values())
    assert len(set.union(*groups.values())) == 3
    other = requests(workload, 77).draw(OPEN, 1)[0].text
    assert other is not None
    assert " ".join(other.split()[:30]) not in set.union(*groups.values())


def test_the_first_requests_of_a_level_meet_each_prefix_once() -> None:
    source = requests(Workload(Lengths(20), Lengths(4), shared_prefix=30, prefix_groups=8), text=False)
    for _ in range(2):
        assert sorted(r.prefix[0].id[-1] for r in source.draw(CLOSED, 12)[:8]) == list(range(8))
    assert len({r.prefix[0].id for r in source.draw(CLOSED, 400)[8:]}) == 8


def test_calibration_finds_tokens_per_word_and_the_templates_overhead() -> None:
    calibration = Calibration.fit([(10, 3 * 10 + 7), (50, 3 * 50 + 7)])
    source = requests(Workload(Lengths(100), Lengths(4), shared_prefix=40))
    source.calibration = calibration

    assert (calibration.tokens_per_word, calibration.overhead) == (pytest.approx(3), pytest.approx(7))
    for planned in source.draw(OPEN, 20):
        assert planned.text is not None
        assert 3 * len(planned.text.split()) + 7 == pytest.approx(140, abs=2)


def test_calibration_survives_what_servers_say() -> None:
    assert Calibration.fit([]) == Calibration()
    assert Calibration.fit([(10, 0)]) == Calibration()
    assert Calibration.fit([(10, 20), (10, 20)]).tokens_per_word == 2
    assert Calibration.fit([(10, 20), (20, 20)]).tokens_per_word > 0
    for nonsense in ([(32, 5), (128, 5)], [(32, 1), (32, 1)]):  # whatever it was sent
        assert Calibration.fit(nonsense) == Calibration()


def test_no_text_is_made_where_the_driver_needs_none() -> None:
    assert {r.text for r in requests(Workload(), text=False).draw(CLOSED, 5)} == {None}


def test_a_files_prompts_are_used_up_before_any_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    lines = [{"prompt": f"p{i}", "output_tokens": 10 + i} for i in range(9)]
    asked = [{"type": "text", "text": "p"}, {"type": "text", "text": "9"}]
    lines.append({"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": asked}]})
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    source = requests(Workload(output=Lengths(7), prompts_file=str(path)))

    first, second, third = source.draw(OPEN, 4), source.draw(OPEN, 6), source.draw(OPEN, 4)

    texts = [r.text for r in (*first, *second)]
    assert sorted(map(str, texts)) == ["be kind\n\np\n9", *(f"p{i}" for i in range(9))]
    assert [r.text for r in third] == texts[:4]
    assert {r.text: r.output_tokens for r in (*first, *second)}["p3"] == 13
    assert {r.text: r.output_tokens for r in (*first, *second)}["be kind\n\np\n9"] == 7
    assert {r.messages for r in (*first, *second)} == {(), (("system", "be kind"), ("user", "p\n9"))}


def test_mistakes_in_a_file_are_told_together_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        '{"prompt": "fine"}\nnot json\n[1]\n{"prompt": ""}\n{"prompt": "x", "output_tokens": 0}\n'
        '{"messages": [{"role": "user", "content": [{"type": "image_url", "text": "x"}]}]}\n{"messages": ["text"]}\n'
        '{"messages": [{"role": "user", "content": ""}]}\n'
    )

    with pytest.raises(InvalidInput) as caught:
        read_prompts(str(path))

    assert [problem.split(": ")[0] for problem in caught.value.problems] == [f"{path}:{n}" for n in range(2, 9)]
    assert all("allowed" in problem for problem in caught.value.problems)


def test_a_file_that_is_missing_or_empty_is_invalid_input(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")

    for path in (empty, tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(InvalidInput, match=str(path)):
            read_prompts(str(path))


def test_the_longest_requests_are_longer_than_nearly_all() -> None:
    workload = Workload(Lengths(400, 0.5), Lengths(100, 0.5), shared_prefix=10)
    usual = requests(workload, text=False).draw(CLOSED, 1000)
    longest = requests(workload, text=False).longest(8, 0.99)

    assert sum(r.prompt_tokens > longest[0].prompt_tokens for r in usual) < 30
    assert len({(r.prompt_tokens, r.output_tokens) for r in longest}) == 1


def test_more_random_words_begin_with_the_same_ones() -> None:
    few, more = (random_words(count, np.random.default_rng(1)) for count in (37, 200))
    assert len(few) == 37
    assert more[:37] == few


def test_lengths_may_be_normal() -> None:
    workload = Workload(Lengths(400, 0.25, Shape.NORMAL), Lengths(100, 0.5, Shape.NORMAL))
    prompts, outputs = np.array([(r.prompt_tokens, r.output_tokens) for r in requests(workload).draw(OPEN, 4000)]).T

    assert prompts.mean() == pytest.approx(400, rel=0.02)
    assert np.median(prompts) == pytest.approx(400, rel=0.02)  # a log-normal one's is 3 % lower
    assert prompts.std() == pytest.approx(100, rel=0.05)
    assert outputs.min() >= 1


def test_counted_lengths_come_as_often_as_they_weigh_and_in_their_pairs() -> None:
    workload = Workload(pairs=(Pair(100, 7, 3.0), Pair(900, 50)), shared_prefix=30)
    source = requests(workload, text=False)
    drawn = source.draw(OPEN, 4000)
    pairs = [(r.prompt_tokens, r.output_tokens) for r in drawn]

    assert set(pairs) == {(130, 7), (930, 50)}
    assert pairs.count((130, 7)) == pytest.approx(3000, rel=0.05)
    assert (source.mean_output_tokens, source.most_output_tokens) == (pytest.approx(17.75), 50)
    assert source.source.mean_prompt_tokens == pytest.approx(330)
    assert [(r.prompt_tokens, r.output_tokens) for r in source.draw(OPEN, 100)] == pairs[:100]
    assert {r.prompt_tokens for r in source.longest(6, 0.99)} == {930}


def test_only_a_share_of_requests_need_begin_with_a_prefix() -> None:
    workload = Workload(Lengths(20), Lengths(4), shared_prefix=30, prefix_groups=3, prefix_share=0.25)
    source = requests(workload)
    one, two = source.draw(OPEN, 2000), source.draw(OPEN, 2000)

    with_prefix = [r for r in one if r.prefix]
    assert len(with_prefix) == pytest.approx(500, rel=0.15)
    assert [r.prompt_tokens for r in one] == [r.prompt_tokens for r in two]  # the same work at every level
    assert [r.prefix[0].id[-1] for r in with_prefix[:3]] == [0, 1, 2]
    assert {(r.prompt_tokens, r.prefix_tokens) for r in one} == {(50, 30), (20, 0)}
    assert all(len(str(r.text).split()) == r.prompt_tokens for r in one)


def test_what_arrives_in_bursts_is_known_to_scatter_more() -> None:
    assert requests(Workload(), text=False).dispersion == 1
    assert requests(Workload(arrivals=Arrival.CONSTANT), text=False).dispersion == 1
    assert requests(Workload(arrivals=Arrival.GAMMA, burstiness=0.25), text=False).dispersion == 4
    assert requests(Workload(arrivals=Arrival.GAMMA, burstiness=3.0), text=False).dispersion == 1


def test_only_a_trace_can_be_replayed() -> None:
    with pytest.raises(ValueError, match="only a trace"):
        Workload(arrivals=Arrival.TRACE)


@pytest.fixture
def many_prompts(tmp_path: Path) -> Workload:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"prompt {i % 500}"}) + "\n" for i in range(600)))
    return Workload(prompts_file=str(path))


def texts_of(workload: Workload, seed: int = 1) -> list[str]:
    source = requests(workload, seed)
    return [str(r.text) for r in source.draw(OPEN, 600)]


def test_what_is_held_out_of_a_large_file_is_not_searched_on(many_prompts: Workload) -> None:
    searched = texts_of(replace(many_prompts, part=Part.SEARCH))
    held_out = texts_of(replace(many_prompts, part=Part.HELD_OUT))

    assert not set(searched) & set(held_out)  # a text that is there twice is in one part only
    assert set(searched) | set(held_out) == set(texts_of(many_prompts))
    assert len(set(held_out)) == pytest.approx(250, abs=60)
    assert set(texts_of(replace(many_prompts, part=Part.HELD_OUT), seed=9)) == set(held_out)
    fewer = texts_of(replace(many_prompts, part=Part.HELD_OUT, held_out=0.3))
    assert set(fewer) < set(held_out)


def test_a_file_that_is_too_small_is_not_split(many_prompts: Workload) -> None:
    alike = [texts_of(replace(many_prompts, part=part, held_out=0.1)) for part in (Part.SEARCH, Part.HELD_OUT)]
    assert alike[0] == alike[1] == texts_of(many_prompts)
    assert len({*texts_of(replace(many_prompts, part=Part.SEARCH, held_out=0.0))}) == 500
