from __future__ import annotations

from tuner.dashboard.pictures.outcomes import look

ENDS = ("feasible", "infeasible", "uncertain", "failed")


def test_ends_differ_by_symbol_and_levels_look_like_them() -> None:
    assert [look(name)["symbol"] for name in ENDS] == ["circle", "triangle", "rect", "arrow"]
    assert look("pass") == look("feasible")
    assert look("fail") == look("infeasible")


def test_what_is_not_known_is_drawn_all_the_same() -> None:
    assert look("unfinished")["symbol"] not in [look(name)["symbol"] for name in ENDS]
