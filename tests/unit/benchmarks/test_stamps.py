"""What a client told, held against what the stub knows."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.clients.job import Told
from tests.benchmarks.clients.stamps import Served, errors, lateness, paired


def served(name: str, received_s: float, *sent_s: float) -> Served:
    return Served((name, f"id of {name}"), received_s, np.array(sent_s), np.array(sent_s))


def test_errors_are_what_is_told_less_what_is_known_whatever_the_clients_clock_says() -> None:
    stream = served("r0", 100.0, 100.2, 100.3, 100.4)
    report = Told("r0", 5.0, (5.201, 5.304, 5.401), scheduled_s=4.99)

    found = errors([(stream, report)])

    assert found.ttft_s == pytest.approx([0.001])
    assert found.scheduled_ttft_s == pytest.approx([0.011])
    assert found.itl_s == pytest.approx([0.003, 0.003])


def test_where_first_and_last_token_are_told_the_mean_gap_is_compared() -> None:
    stream = served("r0", 100.0, 100.2, 100.3, 100.4)

    found = errors([(stream, Told("r0", 5.0, (5.2, 5.42)))])

    assert found.itl_s == pytest.approx([0.01])


def test_lateness_counts_from_the_fastest_request() -> None:
    pairs = [
        (served("r0", 100.0, 100.2, 100.3), Told("r0", 5.0, (5.2, 5.3))),
        (served("r1", 101.004, 101.2, 101.3), Told("r1", 6.0, (6.2, 6.31))),
    ]

    assert lateness(pairs, 100.0, 102.0) == pytest.approx([0.0, 0.0, 0.0, 0.01])
    assert lateness(pairs, 101.25, 102.0) == pytest.approx([0.01])


def test_requests_are_paired_by_any_of_their_names_in_the_order_of_arrival() -> None:
    streams = [served("r1", 0.0, 1.0, 2.0), served("warm-up", 0.0, 1.0), served("r0", 0.0, 1.0, 2.0)]
    reports = [Told("r0", 0.0, (1.0, 2.0)), Told("id of r1", 0.0, (1.0, 2.0))]

    assert [report.name for _, report in paired(streams, reports, 2)] == ["id of r1", "r0"]


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ([], "1 requests served, 0 told"),
        ([Told("r0", 0.0, (1.0,)), Told("r1", 0.0, (1.0,))], "2 told, 1 of them"),
        ([Told("r0", 0.0, (1.0,))], "r0: 3 of 3 tokens sent, 1 told"),
    ],
)
def test_a_run_that_is_not_told_to_its_end_measures_nothing(reports: list[Told], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        paired([served("r0", 0.0, 1.0, 2.0, 3.0)], reports, 3)
