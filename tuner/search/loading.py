"""Putting a study's search space together: the engine's file, the target's gates, the user's edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tuner.core.errors import InvalidInput
from tuner.core.knob import CostClass, Knob, KnobKind, Value
from tuner.core.target import TargetInfo
from tuner.search import grid
from tuner.search.declaration import Declaration
from tuner.search.document import Document, read_document
from tuner.search.edits import Edited, edit
from tuner.search.gates import closed, context_length
from tuner.search.space import LeftOut, Space

#: Where the space files lie: beside the package in an installation, at the repository's root in a checkout.
_FOLDERS = (Path(__file__).parents[1] / "search_spaces", Path(__file__).parents[2] / "search_spaces")


def space_file(engine: str) -> Path:
    """The file that describes `engine`'s knobs. Raises InvalidInput where there is none."""
    for folder in _FOLDERS:
        if (path := folder / f"{engine}.yaml").is_file():
            return path
    known = sorted({path.stem for folder in _FOLDERS if folder.is_dir() for path in folder.glob("*.yaml")})
    raise InvalidInput(f"engine: {engine!r} has no search space; allowed: {', '.join(known)}")


def load_space(
    path_or_engine: str | Path,
    info: TargetInfo,
    edits: Mapping[str, object] | None = None,
    *,
    allow_output_change: bool = False,
    real_text: bool = False,
    where: str = "search.knobs",
) -> Space:
    """The space to search on the target `info`.

    `edits` maps knobs to values, ranges, 'search', 'drop' or whole knobs (edits.FORMS); `where` is the field that they
    come from, for messages. A knob that is left out keeps what the target has. Raises InvalidInput with every mistake.
    """
    path = path_or_engine if isinstance(path_or_engine, Path) else space_file(path_or_engine)
    document = read_document(path)
    edited = edit(document, edits or {}, where)
    builder = _Builder(info, document, edited, allow_output_change, real_text, where)
    for declaration in edited.declarations:
        builder.add(_overridden(declaration, info))
    for name in edited.fixed.keys() - builder.fixed.keys():
        builder.fix(name)
    for declaration in edited.declarations:
        builder.complete(declaration)
    if builder.problems:
        raise InvalidInput(*builder.problems)
    space = builder.space()
    _check_relations(space, where)
    return space


def _overridden(declaration: Declaration, info: TargetInfo) -> Declaration:
    for gate, change in declaration.overrides:
        if closed([gate], info) is None:
            declaration = declaration.rewritten(change)
    return declaration


@dataclass
class _Builder:
    """Decides knob by knob: searched, fixed, or left out with a reason."""

    info: TargetInfo
    document: Document
    edited: Edited
    allow_output_change: bool
    real_text: bool
    where: str
    knobs: list[Knob] = field(default_factory=list)
    fixed: dict[str, Value] = field(default_factory=dict)
    defaults: dict[str, Value] = field(default_factory=dict)
    given: dict[str, Value] = field(default_factory=dict)  # what this engine does not let one choose
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, declaration: Declaration) -> None:
        name = declaration.name
        if declaration.default is not None:
            self.defaults[name] = declaration.default
            if closed(declaration.gates, self.info) is not None:
                self.given[name] = declaration.default
        if name in self.edited.fixed:
            self.fix(name)
        elif name in self.info.pinned and name in self.edited.named:
            self.problems.append(f"{self.where}.{name}: can't be turned here: {self.info.pinned[name]}")
        elif (reason := self._reason_to_leave_out(declaration)) is not None:
            self.left_out.append(LeftOut(name, reason))
        elif name in self.info.pinned:
            self.left_out.append(LeftOut(name, self.info.pinned[name]))
        elif declaration.condition is not None and not self._condition_can_hold(declaration):
            self.left_out.append(LeftOut(name, f"acts only with {declaration.condition.knob}, which is not searched"))
        else:
            self._search(declaration)

    def space(self) -> Space:
        searched = {knob.name for knob in self.knobs}
        lossless = {one.name for one in self.edited.declarations if one.cost is CostClass.LOSSLESS}
        # What the target sets and nobody searches stays in every candidate: an absent knob would be removed.
        for name, value in self.info.baseline.items():
            if name not in searched:
                self.fixed.setdefault(name, value)
        return Space(
            knobs=tuple(self.knobs),
            relations=self.document.relations,
            fixed=self.fixed,
            lossless=self.document.lossless | lossless,
            settings={**self.given, **_settings(self.info)},
            defaults=self.defaults,
            left_out=tuple(self.left_out),
            notes=tuple(self.notes),
        )

    def fix(self, name: str) -> None:
        """Give `name` the one value that the user chose, in every candidate."""
        value = self.edited.fixed[name]
        if name in self.info.pinned and value != self.info.baseline.get(name):
            self.problems.append(f"{self.where}.{name}: {value!r} can't be set here: {self.info.pinned[name]}")
        current = self.info.baseline.get(name, self.info.fixed.get(name, self.defaults.get(name)))
        lossless = self.document.cost_of(name) is CostClass.LOSSLESS
        if not (lossless or self.allow_output_change or value == current):
            kept = f"{current!r}, or " if current is not None else ""
            self.problems.append(
                f"{self.where}.{name}: {value!r} may change the engine's output; allowed: {kept}any with "
                "search.allow_output_change (--allow-output-change)"
            )
        self.fixed[name] = value

    def complete(self, declaration: Declaration) -> None:
        """Tell where a value that the user chose acts only with this knob, and the knob has no value."""
        name, condition = declaration.name, declaration.condition
        if condition is None or (value := self.edited.fixed.get(condition.knob)) not in condition.values:
            return
        if name not in self.fixed and name not in self.info.baseline and all(knob.name != name for knob in self.knobs):
            self.problems.append(
                f"{self.where}.{condition.knob}: {value!r} needs {name}, which has no value; allowed: both, "
                f"{name} from {declaration.low} to {declaration.high}"
            )

    def _reason_to_leave_out(self, declaration: Declaration) -> str | None:
        if declaration.name in self.edited.dropped:
            return "you dropped it"
        if declaration.asked and declaration.name not in self.edited.named:
            return f"searched only when asked for: {declaration.why}"
        if (gate := closed(declaration.gates, self.info)) is not None and not self._insists(declaration, gate):
            return declaration.otherwise or gate
        if declaration.real_text and not self.real_text:
            return "needs real text: with random prompts it measures nothing"
        if declaration.cost is CostClass.MAY_CHANGE_OUTPUT and not self.allow_output_change:
            return "may change the engine's output, which you did not allow"
        return None

    def _insists(self, declaration: Declaration, gate: str) -> bool:
        """Whether the user gave a range to a knob that has no use on a CPU, but does no harm there."""
        others = [{key: wanted for key, wanted in one.items() if key != "cpu"} for one in declaration.gates]
        if declaration.name not in self.edited.ranged or closed(others, self.info) is not None:
            return False
        self.notes.append(f"{declaration.name}: {declaration.otherwise or gate}; searched because you gave it a range")
        return True

    def _condition_can_hold(self, declaration: Declaration) -> bool:
        assert declaration.condition is not None
        parent = declaration.condition.knob
        fixed = self.fixed.get(parent, self.info.baseline.get(parent, self.defaults.get(parent)))
        return any(knob.name == parent for knob in self.knobs) or fixed in declaration.condition.values

    def _search(self, declaration: Declaration) -> None:
        name, choices = declaration.name, []
        for choice in declaration.choices:
            if (reason := closed(choice.gates, self.info)) is None:
                choices.append(choice.value)
            else:
                self.left_out.append(LeftOut(name, f"{choice.value}: {reason}"))
        knob = Knob(
            name=name,
            kind=declaration.kind,
            low=declaration.low,
            high=declaration.high,
            choices=tuple(choices),
            log=declaration.log,
            step=declaration.step,
            per_doubling=declaration.per_doubling,
            condition=declaration.condition,
            cost=declaration.cost,
        )
        if name not in self.edited.named:
            knob = _widened(knob, self.info.baseline.get(name))
        if knob.condition is not None and not any(one.name == knob.condition.knob for one in self.knobs):
            knob = replace(knob, condition=None)  # its parent is fixed to a value with which it acts
        options = grid.values(knob)
        if options is not None and len(options) < 2:
            # One value is no search; a value that the user chose is still named in every candidate.
            self.left_out.append(LeftOut(name, "only one value is left to try"))
            if options and name in self.edited.named:
                self.fixed[name] = options[0]
            return
        self.knobs.append(knob)


def _widened(knob: Knob, current: Value | None) -> Knob:
    """`knob` with a range that holds what the target runs today: the best may lie near it."""
    if current is None or knob.contains(current):
        return knob
    if knob.kind is KnobKind.CHOICE:
        return replace(knob, choices=(*knob.choices, current))
    if knob.kind is KnobKind.BOOL or isinstance(current, (bool, str)) or (knob.log and current <= 0):
        return knob
    low, high = grid.bounds(knob)
    return replace(knob, low=min(low, current), high=max(high, current))


def _settings(info: TargetInfo) -> dict[str, Value]:
    settings = {name: value for name, value in info.fixed.items() if name != "max_model_len"}
    length = context_length(info)
    return settings if length is None else {**settings, "max_model_len": length}


def _check_relations(space: Space, where: str) -> None:
    corners = [{**space.settings, **space.at([share] * len(space.knobs))} for share in (0.0, 0.5, 1.0)]
    broken = [one for one in space.relations if not all(one.holds(values) for values in corners)]
    if broken:
        texts = [f"'{one}'{one.why and f' ({one.why})'}" for one in broken]
        raise InvalidInput(*(f"{where}: no candidate can keep {text}; widen its knobs" for text in texts))
