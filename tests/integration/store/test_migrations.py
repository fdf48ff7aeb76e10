"""Databases of earlier versions are brought up to date with all that is in them, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.old_database import make_database
from tests.unit.store.test_database import differences
from tuner.core.summary import Summary
from tuner.store import Phase, Store, StoreError

THEN = datetime(2026, 1, 1)

# As 0.1 stored them: levels knew neither goodput nor timelines, tests no intervals of what was observed.
_LEVEL = """{"load": {"rate": 4.0, "concurrency": null}, "answer": "pass", "tests": [{"slo": "ttft p95 <= 500ms",
"answer": "pass", "observed": 0.2, "violation": -0.6, "exceeding": 0, "count": 100, "low": 0.0, "high": 0.03}],
"duration_s": 30.0, "requests": 100, "errors": {"timeout": 1}, "request_rate": 4.0, "output_token_rate": 512.0,
"total_token_rate": 2048.0, "statistics": {"ttft": {"count": 100, "mean": 0.1, "p50": 0.1, "p90": 0.2, "p95": 0.2,
"p99": 0.3, "max": 0.4}}, "saturated": false, "foreign": false, "preemptions": 2, "overload": 0.0, "steady": true}"""
LEVEL: dict[str, Any] = json.loads(_LEVEL)
FASTER: dict[str, Any] = {**LEVEL, "load": {"rate": 8.0, "concurrency": None}, "answer": "fail", "saturated": True}
UNCOUNTED: dict[str, Any] = {**LEVEL, "foreign": None}
MEASUREMENT = {"levels": [FASTER, LEVEL, UNCOUNTED], "value": 512.0, "deciding": 1, "value_high": None}

_JSON = sa.JSON(none_as_null=True)


def rows_of(table: str, *rows: dict[str, Any]) -> tuple[sa.Insert, list[dict[str, Any]]]:
    """An INSERT of these rows, as the tables were then."""
    kinds = {dict: _JSON, datetime: sa.DateTime()}
    named = ("measurement", "verdict", "failure", "result")
    columns = [sa.column(name, _JSON if name in named else kinds.get(type(value))) for name, value in rows[0].items()]
    return sa.insert(sa.table(f"tuner_{table}", *columns)), list(rows)


def fill(connection: sa.Connection) -> None:
    """A study with a baseline that was measured, a start that failed, and one that was killed in its second level."""
    study = {"name": "old", "target": "t", "fingerprint": "f", "spec": {"seed": 1}, "info": {}, "detail": ""}
    times = {"created": THEN, "updated": THEN}
    connection.execute(*rows_of("studies", {"id": 1, **study, "state": "searching", "result": None, **times}))
    trial = {"study_id": 1, "reason": "", "created": THEN, "told": True, "screened": False, "start_s": 60.0}
    costs = {"probe_s": 90.0, "gpu_s": 150.0, "candidate": {"max_num_seqs": 64}}
    measured = {"kind": "baseline", "phase": "told", "recorded": THEN, "measurement": MEASUREMENT, "failure": None}
    oom = {"cause": "gpu-oom-at-start", "message": "out of memory", "evidence": "", "overshoot": None, "hint": None}
    failed = {**measured, "kind": "search", "measurement": None, "failure": oom}
    killed = {**failed, "phase": "probing", "recorded": None, "failure": None}
    kinds = enumerate((measured, failed, killed))
    connection.execute(*rows_of("trials", *({"id": n + 1, "number": n, **trial, **costs, **one} for n, one in kinds)))
    connection.execute(*rows_of("phases", {"trial_id": 3, "phase": "starting", "began": THEN}))
    levels = [{"trial_id": n, "level": level, "ended": THEN} for n, level in ((1, FASTER), (1, LEVEL), (3, LEVEL))]
    connection.execute(*rows_of("levels", *levels))


@pytest.mark.parametrize("version", ["0001", "0002"])
def test_a_study_of_an_earlier_version_is_there_in_full_and_in_short(url: str, version: str) -> None:
    made = make_database(url, version)
    with made.writing() as connection:
        fill(connection)
    made.close()

    with Store.open(url) as store:
        assert differences(store.url) == []
        [study] = store.studies()
        measured, failed, killed = store.trials(study.id)
        short = store.trials(study.id, short=True)

    assert measured.measurement is not None
    assert measured.summary == Summary.of(measured.measurement)
    assert [one.void for one in measured.summary.levels] == [True, False, False]
    assert (failed.summary, killed.summary) == (None, None)
    assert [one.expected for one in (measured, failed, killed)] == [None] * 3
    assert [one.summary for one in short] == [measured.summary, None, None]
    assert [len(one.levels) for one in short] == [0, 0, 1]
    assert short[1:] == [failed, killed]


def test_a_study_of_an_earlier_version_goes_on(url: str) -> None:
    made = make_database(url, "0002")
    with made.writing() as connection:
        fill(connection)
    made.close()

    with Store.open(url) as store:
        before = store.stamp(1)
        store.enter_phase(store.trial(1, 2).id, Phase.STARTING, datetime.now().astimezone())
        assert store.stamp(1) != before
        assert store.reviews.of(1) == []


def test_what_was_decided_before_anybody_kept_whose_word_a_name_was_says_neither(url: str) -> None:
    made = make_database(url, "0003")
    with made.writing() as connection:
        fill(connection)
        row = {"study_id": 1, "decision": "approved", "comment": "", "who": "ada", "made": THEN}
        connection.execute(*rows_of("reviews", row))
    made.close()

    with Store.open(url) as store:
        assert differences(store.url) == []
        [review] = store.reviews.of(1)
    assert (review.who, review.vouched) == ("ada", None)


def test_an_earlier_version_is_not_migrated_by_one_who_only_reads(url: str) -> None:
    make_database(url, "0002").close()
    with pytest.raises(StoreError, match=r"`tuner studies`.* brings it up to date"):
        Store.open(url, read_only=True)
    Store.open(url).close()
    with Store.open(url, read_only=True) as reader:
        assert reader.studies() == []
