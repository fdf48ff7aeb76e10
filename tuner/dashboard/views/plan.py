"""A plan: what the form says, and what is expected of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tuner.core.errors import InvalidInput
from tuner.core.knob import Value, as_text
from tuner.core.workload import Objective
from tuner.search import Prediction
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.study import units
from tuner.study.expectation import CLOSE, expected, kv_cache, memory
from tuner.study.planning import Plan
from tuner.study.session import Preview
from tuner.study.spec.settings import parse_settings

#: The form's fields that are options of `tuner plan`, with their names there.
_OPTIONS = ("objective", "rate", "concurrency", "prompt_tokens", "output_tokens", "shared_prefix")
#: What a page works out in some seconds.
_MOST = {
    "gpu_count": 16,
    "rate": 1000,
    "concurrency": 512,
    "prompt_tokens": 32768,
    "output_tokens": 2048,
    "shared_prefix": 32768,
}
_FIELDS = ("gpu", "gpu_count", "model", *_OPTIONS, "slo", "set")


@dataclass(frozen=True)
class Wish:
    """What the form says, as text. `set` and `slo` have one entry a line."""

    fields: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wish:
        """From an address."""
        return cls({name: query[name].strip() for name in _FIELDS if query.get(name, "").strip()})

    def __getitem__(self, name: str) -> str:
        return self.fields.get(name, "")

    @property
    def complete(self) -> bool:
        """Whether there is something to expect."""
        return "gpu" in self.fields and "model" in self.fields

    def given(self) -> dict[str, Any]:
        """As options of a study. Raises InvalidInput: no name here may lead to a file."""
        gpu, model, count = self["gpu"], self["model"], self["gpu_count"] or "1"
        problems = [
            f"{name}: {value!r} is not in the catalogue; allowed: {', '.join(known)}"
            for name, value, known in (("GPU", gpu, GPUS), ("model", model, MODELS))
            if value.lower() not in map(str.lower, known)
        ]
        if not count.isdigit():
            problems.append(f"GPUs: {count!r} is not a whole number; allowed: 1 or more")
        problems += [
            f"{name.replace('_', ' ')}: {self[name]} is more than a page works out; allowed: up to {most:g}, "
            "and `tuner plan` takes more"
            for name, most in _MOST.items()
            if _number(self[name]) > most
        ]
        if problems:
            raise InvalidInput(*problems)
        options = {name: self[name] for name in _OPTIONS if self[name]}
        slos = [line.strip() for line in self["slo"].splitlines() if line.strip()]
        return {"simulated": f"{count}x{gpu}/{model}", **options, **({"slo": slos} if slos else {})}

    def values(self) -> dict[str, Value]:
        """The knobs asked about. Raises InvalidInput."""
        return parse_settings(self["set"].split(), "settings")


def _number(text: str) -> float:
    """0 for what is no number: who reads it will say so."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


@dataclass(frozen=True)
class PlanView:
    """What is expected."""

    preview: Preview
    plan: Plan

    @cached_property
    def cards(self) -> Sequence[tuple[str, Mapping[str, str]]]:
        """The baseline, and what was asked about."""
        shown = [("As the engine starts by itself", self.plan.baseline)]
        if self.plan.asked is not None:
            shown.append(("As asked for", self.plan.asked))
        return [(title, self._facts(one)) for title, one in shown]

    @cached_property
    def first(self) -> Sequence[tuple[str, str, str, str, str]]:
        """What a study would try first: expected, gain, KV cache, changed, why."""
        before = self.plan.baseline
        return [
            (
                units.objective_value(one.value, self._objective),
                units.gain(one.value, before.value, self._objective),
                "" if one.kv_tokens is None else f"{one.kv_tokens:,}",
                units.changed({k: v for k, v in one.candidate.items() if before.settings.get(k) != v}),
                one.reason,
            )
            for one in self.plan.first
        ]

    @property
    def _objective(self) -> Objective:
        return self.preview.aim.objective

    def _facts(self, one: Prediction) -> Mapping[str, str]:
        facts: dict[str, str] = {"settings": ", ".join(f"{k}={as_text(v)}" for k, v in one.settings.items())}
        before = None if one is self.plan.baseline else self.plan.baseline.value
        facts["expected"] = expected(one, self._objective, before)
        facts |= {f"room to {slo}": units.room(-over) for slo, over in one.margins.items()}
        if one.memory is not None:
            facts |= {"memory of each GPU": memory(one.memory), "KV cache": kv_cache(one.memory)}
        if not one.certain:
            facts["caution"] = CLOSE
        return facts
