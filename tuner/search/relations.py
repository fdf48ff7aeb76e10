"""Relations between knobs, in a small grammar of their own (never eval)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tuner.core.errors import InvalidInput
from tuner.core.knob import Value, as_text

GRAMMAR = "NAME >= NAME_OR_NUMBER, or <=, optionally followed by: when NAME is VALUE"
_PATTERN = re.compile(
    r"^\s*(?P<left>[a-z]\w*)\s*(?P<operator>>=|<=)\s*(?P<right>[a-z]\w*|\d+(?:\.\d+)?)"
    r"(?:\s+when\s+(?P<when>[a-z]\w*)\s+is\s+(?P<value>[\w.\-]+))?\s*$"
)


@dataclass(frozen=True)
class Relation:
    """`left >= right` (or <=), everywhere or only where the knob `when` has the value `is_`.

    `right` is a number or the name of a knob or setting.
    """

    left: str
    operator: str
    right: str | float
    when: str | None = None
    is_: Value | None = None
    why: str = ""

    def applies(self, values: Mapping[str, Value]) -> bool:
        """Whether `values` know both sides and meet the `when`."""
        if self.when is not None and values.get(self.when) != self.is_:
            return False
        return self.left in values and (not isinstance(self.right, str) or self.right in values)

    def bound(self, values: Mapping[str, Value]) -> float:
        """The right-hand side as a number."""
        return float(values[self.right]) if isinstance(self.right, str) else self.right

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether the relation is kept; true where it does not apply."""
        if not self.applies(values):
            return True
        left, right = float(values[self.left]), self.bound(values)
        return left >= right if self.operator == ">=" else left <= right

    def __str__(self) -> str:
        right = self.right if isinstance(self.right, str) else f"{self.right:g}"
        when = f" when {self.when} is {as_text(self.is_)}" if self.when else ""
        return f"{self.left} {self.operator} {right}{when}"


def parse_relation(text: str, why: str = "") -> Relation:
    """Read one relation, e.g. `max_num_batched_tokens >= max_model_len when enable_chunked_prefill is false`.

    Raises InvalidInput with what is allowed.
    """
    match = _PATTERN.match(text)
    if match is None:
        raise InvalidInput(f"{text!r} is not a relation; allowed: {GRAMMAR}")
    right: str | float = match["right"]
    assert isinstance(right, str)
    if right[0].isdigit():
        right = float(right)
    return Relation(match["left"], match["operator"], right, match["when"], _value(match["value"]), why)


def _value(word: str | None) -> Value | None:
    if word is None or word in ("true", "false"):
        return None if word is None else word == "true"
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return word
