"""vLLM's options as data: what each is called, and how its text becomes a value."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tuner.core.flags import FlagSpec
from tuner.core.knob import Value

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmgtKMGT])?", re.ASCII)
_INT = re.compile(r"\s*[+-]?\d{1,18}\s*", re.ASCII)
_FLOAT = re.compile(r"\s*[+-]?(\d{1,18}(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?\s*", re.ASCII)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
#: What vLLM's configuration checks after parsing: the lowest and highest value.
_BOUNDS: dict[str, tuple[float, float]] = {
    "max-num-seqs": (1, math.inf),
    "max-num-batched-tokens": (1, math.inf),
    "gpu-memory-utilization": (0, 1),
    "max-model-len": (1, math.inf),
    "block-size": (1, math.inf),
    "tensor-parallel-size": (1, math.inf),
}

Version = tuple[int, ...]


@dataclass(frozen=True)
class Option:
    """One option of `vllm serve`. Names are without dashes, with hyphens.

    `type` is one of bool (has a --no- form), switch (has none), int, float, size (an int that may be written 8k or 8K),
    size-or-auto, json, str. `many` options take several values; of an option that `repeats` every use counts. `group`
    is the part of vLLM's help that it stands in ("CacheConfig"; empty: before all of them).
    """

    name: str
    type: str
    aliases: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    many: bool = False
    repeats: bool = False
    group: str = ""

    @property
    def spec(self) -> FlagSpec:
        """How the option may be spelled."""
        return FlagSpec(
            name=self.name,
            aliases=self.aliases,
            short=self.short,
            boolean=self.boolean,
            negation=f"no-{self.name}" if self.type == "bool" else None,
            several=self.many,
        )

    @property
    def boolean(self) -> bool:
        """Whether the option takes no value."""
        return self.type in ("bool", "switch")

    @property
    def dest(self) -> str:
        """The setting's name in vLLM's configuration: the knob's name."""
        return self.name.replace("-", "_")


@dataclass(frozen=True)
class OptionTable:
    """The options of one version."""

    version: str
    options: tuple[Option, ...]

    def find(self, name: str) -> Option | None:
        """The option with this long name, alias or --no- form, exactly."""
        return _index(self).get(name.removeprefix("no-")) if name.startswith("no-") else _index(self).get(name)

    def of_knob(self, knob: str) -> Option | None:
        """The option behind a knob's name (`max_num_seqs`)."""
        return _index(self).get(knob.replace("_", "-"))


@cache
def _index(table: OptionTable) -> dict[str, Option]:
    return {name: option for option in table.options for name in (option.name, *option.aliases)}


@cache
def options() -> OptionTable:
    """The newest table known to this project; `make engine-options` writes it."""
    raw = json.loads(files(__package__).joinpath("options.json").read_text(encoding="utf-8"))
    return OptionTable(
        version=raw["version"],
        options=tuple(
            Option(
                name=row["name"],
                type=row["type"],
                aliases=tuple(row.get("aliases", ())),
                short=tuple(row.get("short", ())),
                choices=tuple(row.get("choices", ())),
                many=row.get("many", False),
                repeats=row.get("repeats", False),
                group=row.get("group", ""),
            )
            for row in raw["options"]
        ),
    )


def version_of(text: str | None) -> Version | None:
    """The release numbers in a version or image tag ("v0.11.0", "0.32.0+cpu"); None where there are none ("latest")."""
    match = re.search(r"(?<![\d.])v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", text or "", re.ASCII)
    return tuple(int(part) for part in match.groups(default="0")) if match else None


def parse_size(text: str) -> int:
    """An int as vLLM reads it: 8k = 8000, 8K = 8192, 2M, 1.5g. Raises ValueError.

    A fraction is allowed with decimal (lower-case) multipliers only.
    """
    if _INT.fullmatch(text):
        return int(text)
    match = _SIZE.fullmatch(text.strip())
    if match is None or len(match[1]) > 18 or match[2] is None or ("." in match[1] and match[2].isupper()):
        raise ValueError(text)
    base = 1024 if match[2].isupper() else 1000
    return int(float(match[1]) * base ** _POWERS[match[2].lower()])


def convert(option: Option, text: str) -> Value:
    """The value that `text` stands for. Raises ValueError with what is allowed instead."""
    value = _read(option, text)
    low, high = _BOUNDS.get(option.name, (-math.inf, math.inf))
    if not isinstance(value, str) and not low <= value <= high:
        raise ValueError(f"from {low:g} to {high:g}" if high < math.inf else f"at least {low:g}")
    return value


def _read(option: Option, text: str) -> Value:
    if option.choices and text not in option.choices:
        raise ValueError("one of " + ", ".join(option.choices))
    if option.type == "int":
        if not _INT.fullmatch(text):
            raise ValueError("an integer")
        return int(text)
    if option.type == "float":
        if not _FLOAT.fullmatch(text):
            raise ValueError("a number")
        return float(text)
    if option.type in ("size", "size-or-auto"):
        if option.type == "size-or-auto" and text in ("auto", "-1"):
            return text
        try:
            return parse_size(text)
        except ValueError:
            raise ValueError("an integer, or one like 8k (8000) or 8K (8192)") from None
    return text
