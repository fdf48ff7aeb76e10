"""The list of studies: filtered, sorted, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

PER_PAGE = 100
#: What the list can be sorted by, and what a study that has none of it counts as.
SORTS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "name": lambda row: row["name"].lower(),
    "state": lambda row: row["state"],
    "target": lambda row: row["target"].lower(),
    "gain": lambda row: -1.0 if row["gain"] is None else row["gain"],
    "starts": lambda row: row["starts"],
    "gpu_minutes": lambda row: row["gpu_minutes"],
    "by": lambda row: row["by"].lower(),
    "created": lambda row: row["created"],
    "updated": lambda row: row["updated"],
}


@dataclass(frozen=True)
class Wanted:
    """What is asked for: a text in name, target or answer, a state, an order, and which page (the first is 1)."""

    text: str = ""
    state: str = ""
    sort: str = "created"
    order: str = "desc"
    number: int = 1

    def link(self, **other: object) -> str:
        """The address of the same list, otherwise sorted or another page of it."""
        asked = {"q": self.text, "state": self.state, "sort": self.sort, "order": self.order, "number": self.number}
        plain = {"q": "", "state": "", "sort": "created", "order": "desc", "number": 1}
        changed = {**asked, "number": 1, **other}
        kept = {name: value for name, value in changed.items() if value != plain[name]}
        return f"/?{urlencode(kept)}" if kept else "/"

    def by(self, column: str) -> str:
        """The address of the list by another column; by the same one, the other way round."""
        down = self.sort == column and self.order == "asc"
        return self.link(sort=column, order="desc" if down else "asc")


@dataclass(frozen=True)
class StudiesView:
    """One page of the list. `states` are those that any study has."""

    wanted: Wanted
    rows: Sequence[Mapping[str, Any]]
    found: int
    all: int
    states: Sequence[str]

    @classmethod
    def of(cls, overviews: Sequence[Mapping[str, Any]], wanted: Wanted) -> StudiesView:
        """What is wanted of these."""
        found = [row for row in overviews if _matches(row, wanted)]
        found.sort(key=SORTS.get(wanted.sort, SORTS["created"]), reverse=wanted.order == "desc")
        wanted = replace(wanted, number=min(max(1, wanted.number), _pages(len(found))))
        first = PER_PAGE * (wanted.number - 1)
        states = sorted({row["state"] for row in overviews})
        return cls(wanted, found[first : first + PER_PAGE], len(found), len(overviews), states)

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return _pages(self.found)


def _pages(found: int) -> int:
    return max(1, -(-found // PER_PAGE))


def _matches(row: Mapping[str, Any], wanted: Wanted) -> bool:
    words = wanted.text.lower().split()
    told = " ".join(str(row[name] or "") for name in ("name", "target", "summary", "by")).lower()
    return all(word in told for word in words) and wanted.state in ("", row["state"])
