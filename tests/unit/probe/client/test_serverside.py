from __future__ import annotations

import pytest

from tuner.core.serverside import Gauge, ServerSample, ServerSamples
from tuner.probe.client.serverside import view_of


def samples(*running: float) -> tuple[ServerSample, ...]:
    return tuple(ServerSample(float(i), {"running": value}) for i, value in enumerate(running))


def test_counters_are_by_how_much_they_grew_and_gauges_what_they_reached() -> None:
    before = {"running": 0.0, "preemptions": 5.0, "requests": 100.0}
    after = {"running": 0.0, "preemptions": 7.0, "requests": 300.0, "drafts": 3.0}

    found = view_of(ServerSamples(before, samples(4.0, 8.0), after, missed=1))

    assert (found.samples, found.missed) == (2, 1)
    assert found.counters == {"requests": 200.0, "preemptions": 2.0}
    assert found.gauges == {"running": Gauge(before=0.0, mean=6.0, max=8.0, after=0.0)}


def test_shares_come_from_counters() -> None:
    before = dict.fromkeys(("prefix_queries", "prefix_hits", "drafts", "draft_tokens", "accepted_tokens"), 100.0)
    after = {
        "prefix_queries": 300.0,
        "prefix_hits": 150.0,
        "drafts": 140.0,
        "draft_tokens": 220.0,
        "accepted_tokens": 160.0,
    }

    found = view_of(ServerSamples(before, (), after))

    assert found.prefix_hit_share == pytest.approx(0.25)
    assert found.acceptance == pytest.approx(0.5)
    assert found.accepted_length == pytest.approx(2.5)


def test_an_engine_without_such_counters_is_taken_at_its_word() -> None:
    during = tuple(ServerSample(i, {"acceptance": share, "accepted_length": 2.0}) for i, share in enumerate((0.4, 0.6)))

    found = view_of(ServerSamples({"running": 0.0}, during, {"running": 0.0}))

    assert (found.acceptance, found.accepted_length, found.prefix_hit_share) == (pytest.approx(0.5), 2.0, None)


def test_nothing_looked_up_or_drafted_makes_no_share() -> None:
    counted = {"prefix_queries": 10.0, "prefix_hits": 2.0, "drafts": 0.0, "draft_tokens": 0.0, "accepted_tokens": 0.0}

    found = view_of(ServerSamples(counted, (), counted))

    assert (found.prefix_hit_share, found.acceptance, found.accepted_length) == (None, None, None)
