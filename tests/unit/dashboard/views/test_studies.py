from __future__ import annotations

from typing import Any

import pytest

from tuner.dashboard.views.studies import PER_PAGE, SORTS, StudiesView, Wanted


def _row(number: int, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": number,
        "name": f"study-{number}",
        "state": "finished",
        "target": "prod/chat",
        "summary": None,
        "gain": None,
        "starts": number,
        "gpu_minutes": 1.0 * number,
        "by": "ada",
        "created": f"2026-01-{number % 28 + 1:02d}",
        "updated": "2026",
    }
    return {**plain, **more}


ROWS = [
    _row(1, gain=0.3, summary="better by 30%"),
    _row(2, gain=-0.1),
    _row(3, state="stopped", by="Grace", target="test/code"),
]


def _numbers(wanted: Wanted) -> list[int]:
    return [row["id"] for row in StudiesView.of(ROWS, wanted).rows]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(text="GRACE"), [3]),
        (Wanted(text="better 30%"), [1]),
        (Wanted(text="prod", sort="name", order="asc"), [1, 2]),
        (Wanted(state="stopped"), [3]),
        (Wanted(sort="gain"), [1, 2, 3]),  # what has no gain counts as the least
        (Wanted(sort="starts", order="asc"), [1, 2, 3]),
        (Wanted(sort="no such column"), [3, 2, 1]),
    ],
)
def test_what_is_wanted_is_found_in_its_order(wanted: Wanted, expected: list[int]) -> None:
    assert _numbers(wanted) == expected


def test_every_column_sorts_all_rows_both_ways() -> None:
    for column in SORTS:
        up, down = (_numbers(Wanted(sort=column, order=order)) for order in ("asc", "desc"))
        assert sorted(up) == sorted(down) == [1, 2, 3]


def test_many_come_a_page_at_a_time() -> None:
    rows = [_row(number) for number in range(1, 2 * PER_PAGE + 3)]
    view = StudiesView.of(rows, Wanted(number=3))
    assert view.pages == 3
    assert len(view.rows) == 2
    assert (view.found, view.all) == (len(rows), len(rows))
    assert StudiesView.of(rows, Wanted(number=99)).rows == view.rows  # beyond the last is the last


def test_an_address_names_what_is_not_as_usual() -> None:
    wanted = Wanted(text="a b", sort="gain", order="asc", number=4)
    assert Wanted().link() == "/"
    assert wanted.by("gain") == "/?q=a+b&sort=gain"
    assert wanted.by("name") == "/?q=a+b&sort=name&order=asc"
    assert wanted.link(number=2) == "/?q=a+b&sort=gain&order=asc&number=2"
