"""Reading a search space file: YAML 1.2, every mistake told with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tuner.core.errors import InvalidInput
from tuner.core.knob import CostClass
from tuner.search.declaration import FIELDS, Declaration, plain, read_knob
from tuner.search.gates import Gate, check_gate
from tuner.search.relations import Relation, parse_relation

_TOP = ("engine", "knobs", "lossless", "relations")
_OVERRIDABLE = ("low", "high", "step", "per_doubling", "choices", "default", "otherwise")


@dataclass(frozen=True)
class Document:
    """A search space file. `lossless` are settings that are no knobs and leave what the model writes as it is."""

    engine: str
    knobs: tuple[Declaration, ...]
    relations: tuple[Relation, ...]
    lossless: frozenset[str] = frozenset()

    def cost_of(self, name: str) -> CostClass:
        """What setting `name` may cost. One that the file does not know of may change the output."""
        lossless = self.lossless | {knob.name for knob in self.knobs if knob.cost is CostClass.LOSSLESS}
        return CostClass.LOSSLESS if name in lossless else CostClass.MAY_CHANGE_OUTPUT


def read_document(path: Path) -> Document:
    """Read and check a search space file. Raises InvalidInput with all its mistakes, each with file and line."""
    try:
        data = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read: {error.strerror}") from error
    except MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidInput(f"{path}{line}: {error.problem}") from error
    except YAMLError as error:
        raise InvalidInput(f"{path}: not YAML: {error}") from error
    return _Reader(path).document(data)


class _Reader:
    """Collects the mistakes of one file while it reads on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []

    def document(self, data: Any) -> Document:
        if not isinstance(data, Mapping):
            raise InvalidInput(f"{self.path}: must be a mapping with {', '.join(_TOP)}")
        self.only(data, _TOP, "")
        engine, declared = data.get("engine"), data.get("knobs")
        if not isinstance(engine, str):
            self.problem(data, "engine", "engine", engine, "the engine's name")
        knobs = []
        if isinstance(declared, Mapping) and declared:
            knobs = [knob for name in declared if (knob := self.knob(declared, str(name))) is not None]
            self.parents_first(declared, knobs)
        else:
            self.problem(data, "knobs", "knobs", declared, "a mapping from knob to its description")
        lossless = self.listed(data, "lossless", "lossless", str, "settings")
        relations = self.relations(data)
        if self.problems:
            raise InvalidInput(*self.problems)
        return Document(str(engine), tuple(knobs), relations, frozenset(map(str, lossless)))

    def knob(self, parent: Mapping[str, Any], name: str) -> Declaration | None:
        body = parent[name]
        if not isinstance(body, Mapping):
            self.problem(parent, name, f"knobs.{name}", body, "a mapping")
            return None
        self.only(body, FIELDS, f"knobs.{name}")
        with self.telling(parent, name):
            knob = read_knob(name, body)
            return replace(knob, overrides=self.overrides(body, knob))
        return None

    def overrides(self, body: Mapping[str, Any], knob: Declaration) -> tuple[tuple[Gate, Mapping[str, object]], ...]:
        found, field = [], f"knobs.{knob.name}.overrides"
        for item in self.listed(body, "overrides", field, Mapping, "mappings with `if`"):
            self.only(item, ("if", *_OVERRIDABLE), field)
            change = {str(key): plain(value) for key, value in item.items()}
            gate: Any = change.pop("if", None)
            if not isinstance(gate, dict):
                self.problem(body, "overrides", field, item, "a mapping with `if`")
                continue
            with self.telling(body, "overrides"):
                check_gate(gate)
                knob.rewritten(change)
            found.append((gate, change))
        return tuple(found)

    def parents_first(self, declared: Mapping[str, Any], knobs: Sequence[Declaration]) -> None:
        seen: set[str] = set()
        for knob in knobs:
            if knob.condition is not None and knob.condition.knob not in seen:
                allowed = "a knob declared above"
                self.problem(declared, knob.name, f"knobs.{knob.name}.active", knob.condition.knob, allowed)
            seen.add(knob.name)

    def relations(self, data: Mapping[str, Any]) -> tuple[Relation, ...]:
        found = []
        for item in self.listed(data, "relations", "relations", Mapping, "mappings with `must` and `why`"):
            self.only(item, ("must", "why"), "relations")
            if not isinstance(item.get("must"), str):
                self.problem(data, "relations", "relations", item, "a mapping with `must` and `why`")
                continue
            with self.telling(item, "must", "relations: "):
                found.append(parse_relation(item["must"], str(item.get("why", ""))))
        return tuple(found)

    def listed(self, parent: Mapping[str, Any], key: str, field: str, kind: type, what: str) -> list[Any]:
        """The items of one kind in the list under `key`."""
        found = parent.get(key, [])
        if not isinstance(found, list):
            self.problem(parent, key, field, found, f"a list of {what}")
            return []
        for item in found:
            if not isinstance(item, kind):
                self.problem(parent, key, field, item, f"a list of {what}")
        return [item for item in found if isinstance(item, kind)]

    def only(self, mapping: Mapping[str, Any], allowed: Sequence[str], at: str) -> None:
        for key in mapping:
            if key not in allowed:
                field = f"{at}.{key}" if at else key
                self.problems.append(
                    f"{self.where(mapping, key)}: {field}: unknown field; allowed: {', '.join(allowed)}"
                )

    @contextmanager
    def telling(self, parent: object, key: str, prefix: str = "") -> Iterator[None]:
        """Go on after a mistake, which is found at `key`."""
        try:
            yield
        except InvalidInput as error:
            self.problems += [f"{self.where(parent, key)}: {prefix}{problem}" for problem in error.problems]

    def problem(self, parent: object, key: str, field: str, value: object, allowed: str) -> None:
        self.problems.append(f"{self.where(parent, key)}: {field}: {plain(value)!r}; allowed: {allowed}")

    def where(self, parent: object, key: str) -> str:
        positions = getattr(getattr(parent, "lc", None), "data", None) or {}
        line = positions[key][0] + 1 if key in positions else None
        return f"{self.path}:{line}" if line else str(self.path)
