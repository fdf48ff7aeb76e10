"""How trials look by how they ended: a colour, and a symbol for those who do not tell colours apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.core.measurement import Answer
from tuner.dashboard.pictures.picture import FAIL, PASS, SOFT, UNCERTAIN

_PASSED, _BROKE, _UNSURE, _DIED = (PASS, "circle"), (FAIL, "triangle"), (UNCERTAIN, "rect"), (FAIL, "arrow")
#: By the word for a trial's end, or for a level's.
_LOOKS: Mapping[str, tuple[str, str]] = {
    "feasible": _PASSED,
    Answer.PASS.value: _PASSED,
    "infeasible": _BROKE,
    Answer.FAIL.value: _BROKE,
    "uncertain": _UNSURE,
    "failed": _DIED,
    "void": (SOFT, "diamond"),
}


def look(name: str) -> dict[str, Any]:
    """What a series of such trials or levels is drawn with."""
    colour, symbol = _LOOKS.get(name, (SOFT, "emptyCircle"))
    return {"itemStyle": {"color": colour}, "symbol": symbol}
