"""Turning candidates down before they cost a start: by the memory planner, and by what real starts have shown.

A start is not spent where the planner is certain that the engine refuses (a prediction within 3 % of a cliff is run),
or where something no greedier has failed already. How many failures it takes depends on whether they repeat:

* one, where the engine's start is arithmetic: KV cache too small, GPU out of memory while starting;
* two, where it hangs on traffic or on who else was there: out of memory under load, the host's memory, and
  "free memory on device ... is less than desired", which the last pod may have caused;
* one failed start that names a knob and its value ("No common block size for 16"), for every candidate with that value.

A start that worked is proof: nothing that is no greedier than it is ever turned down, and where the planner would have
refused its flags, it refuses none any more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.hardware import EngineFacts, Gpu, Model
from tuner.core.knob import Candidate, KnobKind, Value
from tuner.search.space import Space
from tuner.simulator.memory import MemoryConstants, MemoryPlan, calibrate, constants_for, plan
from tuner.simulator.settings import NotModelled, Settings, resolve

# Which way a knob makes an engine greedier, by what runs out: +1 higher, -1 lower.
_GPU: Mapping[str, int] = {
    "gpu_memory_utilization": 1,
    "max_num_seqs": 1,
    "max_num_batched_tokens": 1,
    "num_speculative_tokens": 1,
    "tensor_parallel_size": -1,
}
_KV: Mapping[str, int] = {**_GPU, "gpu_memory_utilization": -1, "kv_cache_dtype": 1}
_HOST: Mapping[str, int] = {"gpu_memory_utilization": 1, "max_num_seqs": 1, "max_num_batched_tokens": 1}
_GREED = {
    Cause.GPU_OOM_AT_START: _GPU,
    Cause.GPU_OOM_UNDER_LOAD: _GPU,
    Cause.KV_CACHE_TOO_SMALL: _KV,
    Cause.HOST_OOM: _HOST,
}
_DETERMINISTIC = frozenset({Cause.GPU_OOM_AT_START, Cause.KV_CACHE_TOO_SMALL})
_REFUSED_VALUES = frozenset({Cause.BAD_FLAG, Cause.CRASH_AT_START})
_OTHERS_MEMORY = re.compile(r"free memory on device.*less than desired", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class _Start:
    """One real start: with which values, and how it failed (None: it came up)."""

    values: Mapping[str, Value]
    failure: Failure | None


@dataclass
class Screen:
    """Decides which candidates are not worth a start, and learns from those that were started.

    `model` and `gpu` may be unknown (and are on a CPU): then only what real starts have shown is used. `constants` are
    the planner's, where an earlier study of the same image, GPU and model has learnt them. `fixed` are settings of the
    target that are no knobs (max_model_len).
    """

    space: Space
    model: Model | None = None
    gpu: Gpu | None = None
    gpu_count: int = 1
    fixed: Mapping[str, Value] = field(default_factory=dict)
    version: str | None = None
    constants: MemoryConstants | None = None
    _starts: list[_Start] = field(default_factory=list)
    _disproved: bool = False  # an engine ran with flags that the planner thinks it refuses

    def check(self, candidate: Candidate) -> Failure | None:
        """Why not to start this candidate, or None: start it."""
        values = self._explicit(candidate)
        return self._value_refused(values) or self._planned(candidate, values) or self._dominated(values)

    def learn(self, candidate: Candidate, outcome: EngineFacts | Failure | None) -> None:
        """Take in a real start: what the engine reported, or why it failed. Infrastructure failures teach nothing."""
        if isinstance(outcome, Failure):
            if not outcome.cause.infrastructure:
                self._starts.append(_Start(self._explicit(candidate), outcome))
            return
        reported = (outcome.settings or {}) if outcome else {}
        self._lengthen({**self.fixed, **reported}.get("max_model_len"))
        self._disproved = self._disproved or self._flag_refused(candidate) is not None
        # A knob that the candidate does not name has the value that the engine reported, not the one we assume.
        self._starts.append(_Start({**self._explicit(candidate), **reported, **candidate}, None))
        if outcome is not None:
            self._calibrate({**reported, **candidate}, outcome)

    def expect(self, candidate: Mapping[str, Value]) -> MemoryPlan | None:
        """The planner's view of a candidate; None where model or GPU are unknown or the engine would refuse a flag."""
        try:
            settings = self._settings(candidate)
        except TrialFailed:
            return None
        if settings is None or self.model is None or self.gpu is None:
            return None
        return plan(self.model, self.gpu, settings, self._constants)

    # --- the planner --------------------------------------------------------------------------------------------------

    @property
    def _constants(self) -> MemoryConstants:
        return self.constants or constants_for(self.version)

    def _settings(self, values: Mapping[str, Value]) -> Settings | None:
        if self.model is None or self.gpu is None:
            return None
        return resolve(values, self.fixed, self.model, self.gpu, self.gpu_count, self.version)

    def _planned(self, candidate: Candidate, values: Mapping[str, Value]) -> Failure | None:
        if not self._disproved and (refused := self._flag_refused(candidate)) is not None:
            return _expected(refused)
        expected = self.expect(candidate)
        if expected is None or expected.refusal is None or not expected.certain:
            return None
        greed = _GREED.get(expected.refusal.cause)
        if greed is not None and self._proven(values, greed):
            return None
        return _expected(expected.refusal)

    def _flag_refused(self, candidate: Mapping[str, Value]) -> Failure | None:
        """Why the engine would end while it reads these flags."""
        try:
            self._settings(candidate)
        except NotModelled:
            return None
        except TrialFailed as refused:
            return refused.failure
        return None

    def _lengthen(self, served: Value | None) -> None:
        """Plan with the context length that an engine serves, where its model's config.json names less (YaRN)."""
        if self.model is not None and isinstance(served, int) and served > self.model.max_positions:
            self.model = replace(self.model, max_positions=served)

    def _calibrate(self, values: Mapping[str, Value], facts: EngineFacts) -> None:
        known = {
            name: value for name, value in values.items() if name in self.space.by_name or name in self.space.fixed
        }
        try:
            settings = self._settings(known)
        except TrialFailed:
            return  # the engine takes what the planner thinks it refuses: nothing to calibrate on
        if settings is not None and self.model is not None and self.gpu is not None:
            self.constants = calibrate(self._constants, facts, settings, self.model, self.gpu)

    # --- what real starts have shown ----------------------------------------------------------------------------------

    def _explicit(self, candidate: Candidate) -> dict[str, Value]:
        return dict(self.space.complete(candidate))

    def _proven(self, values: Mapping[str, Value], greed: Mapping[str, int]) -> bool:
        return any(start.failure is None and _at_least(start.values, values, greed) for start in self._starts)

    def _dominated(self, values: Mapping[str, Value]) -> Failure | None:
        for cause, greed in _GREED.items():
            if self._proven(values, greed):
                continue
            failures = [
                start.failure
                for start in self._starts
                if start.failure is not None and start.failure.cause is cause and _at_least(values, start.values, greed)
            ]
            if failures and len(failures) >= min(_repeats(failure) for failure in failures):
                count = "a start" if len(failures) == 1 else f"{len(failures)} starts"
                return replace(
                    failures[-1], message=f"{count} that asked for no more failed: {failures[-1].message}", hint=None
                )
        return None

    def _value_refused(self, values: Mapping[str, Value]) -> Failure | None:
        worked = [start for start in self._starts if start.failure is None]
        for start in self._starts:
            if start.failure is None or start.failure.cause not in _REFUSED_VALUES:
                continue
            for name, value in self._named(start):
                if values.get(name) == value and all(other.values.get(name) != value for other in worked):
                    return replace(
                        start.failure, message=f"{name}={value} was refused before: {start.failure.message}", hint=None
                    )
        return None

    def _named(self, start: _Start) -> list[tuple[str, Value]]:
        """Choices that a refusal names together with their value."""
        assert start.failure is not None
        message = start.failure.message.lower()
        found = []
        for knob in self.space.knobs:
            if knob.kind not in (KnobKind.CHOICE, KnobKind.BOOL) or knob.name not in start.values:
                continue
            name = knob.name.replace("_", "[-_ ]?")
            value = re.escape(str(start.values[knob.name]).lower())
            if re.search(name, message) and re.search(rf"(?<![\w.]){value}(?![\w.])", message):
                found.append((knob.name, start.values[knob.name]))
        return found


def _expected(failure: Failure) -> Failure:
    return replace(failure, message=f"expected: {failure.message}", evidence="")


def _repeats(failure: Failure) -> int:
    """How many failures of this kind it takes to believe in it."""
    certain = failure.cause in _DETERMINISTIC and not _OTHERS_MEMORY.search(f"{failure.message} {failure.evidence}")
    return 1 if certain else 2


def _at_least(a: Mapping[str, Value], b: Mapping[str, Value], greed: Mapping[str, int]) -> bool:
    """Whether `a` asks for at least as much as `b` in every knob that counts."""
    return all(_amount(name, a) * sign >= _amount(name, b) * sign for name, sign in greed.items())


def _amount(name: str, values: Mapping[str, Value]) -> float:
    value = values.get(name, 0)
    if name == "kv_cache_dtype":  # bytes per cached value; unknown types count as full size
        return 1.0 if str(value).startswith(("fp8", "int8")) else 2.0
    return float(value) if isinstance(value, (int, float)) else 0.0
