from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.unit.study.test_judge import SLOS, level, measured
from tuner.core.expected import Expected
from tuner.core.knob import Candidate
from tuner.core.measurement import Answer
from tuner.core.summary import Summary
from tuner.core.workload import Objective
from tuner.store import Phase, TrialKind, TrialRecord
from tuner.study.judge import judge
from tuner.study.report import margins, trial_row

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("violation", "room"), [(-0.1, 0.1), (0.3, -0.3), (40.0, -5.0)])
def test_margins_are_those_that_were_measured_also_where_nothing_was_proven(violation: float, room: float) -> None:
    found = measured(None, level(Answer.UNCERTAIN, dict.fromkeys(SLOS, violation)))
    trial = TrialRecord(1, 1, 1, TrialKind.SEARCH, Candidate(), "", None, Phase.TOLD, NOW, recorded=NOW)

    told = replace(trial, verdict=judge(found, SLOS), measurement=found, summary=Summary.of(found))

    assert margins(told) == pytest.approx({str(slo): room for slo in SLOS})
    assert margins(trial) == {}


def test_a_report_has_the_series_of_its_levels_only_where_they_are_wanted() -> None:
    found = measured(5.0, level(Answer.PASS, dict.fromkeys(SLOS, -0.1)))
    trial = TrialRecord(
        1, 1, 1, TrialKind.SEARCH, Candidate(), "", None, Phase.TOLD, NOW, recorded=NOW, measurement=found
    )

    whole, short = (trial_row(trial, None, Objective(), series)["levels"][0] for series in (True, False))

    assert set(whole) - set(short) == {"quantiles", "timeline"}
    assert {"goodput", "window", "server", "statistics"} <= set(short)


def test_a_row_says_what_was_expected_beside_what_came_of_it() -> None:
    trial = TrialRecord(1, 1, 1, TrialKind.SEARCH, Candidate(), "", None, Phase.TOLD, NOW, recorded=NOW)
    expected = Expected(1200.0, 9.5, 65_536, {"ttft p95 <= 500ms": 0.2}, certain=False)

    rows = [trial_row(one, None, Objective()) for one in (trial, replace(trial, expected=expected))]

    assert [row["expected"] for row in rows] == [
        None,
        {
            "value": 1200.0,
            "rate": 9.5,
            "kv_tokens": 65_536,
            "margins": {"ttft p95 <= 500ms": 0.2},
            "certain": False,
            "refusal": None,
        },
    ]
