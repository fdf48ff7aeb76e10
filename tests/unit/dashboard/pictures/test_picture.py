from __future__ import annotations

from tuner.dashboard.pictures.picture import MOST_ROWS, grouped, newest, point, rounded, spoken


def test_the_newest_are_kept_and_it_is_said_that_others_were_not() -> None:
    assert newest(range(MOST_ROWS), "Shown are") == (range(MOST_ROWS), "")
    found, said = newest(range(1200), "Shown are")
    assert list(found) == list(range(1000, 1200))
    assert said == " Shown are the newest 200 of 1,200."


def test_all_points_are_there_and_the_newest_speak() -> None:
    many = [point(at, at, f"trial {at}", href=f"/{at}") for at in range(5)]
    assert spoken(many, 2) == [[0, 0], [1, 1], [2, 2], many[3], many[4]]
    assert spoken(many) == many
    red = {"value": 1.0, "itemStyle": {"color": "@fail"}, "text": "failed"}
    assert spoken([red], 0) == [{"value": 1.0, "itemStyle": {"color": "@fail"}}]


def test_groups_come_in_the_order_of_their_first() -> None:
    assert grouped("baab", (1, 2, 3, 4)) == {"b": [1, 4], "a": [2, 3]}


def test_numbers_have_as_many_digits_as_can_be_seen() -> None:
    assert rounded(1234.56789) == 1234.57
    assert rounded(0.000012345678) == 0.0000123457
    assert rounded(12345678) == 12345678
