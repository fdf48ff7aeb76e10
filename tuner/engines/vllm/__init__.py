"""vLLM: what its command line, logs and metrics look like. Written for 0.32, tolerant of versions since 0.5."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tuner.core.cause import Failure
from tuner.core.flags import FlagEdit, FlagSyntax, FlagUse
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate, Value
from tuner.core.redact import redact
from tuner.engines.engine import Exit, FlagAdvice, Lever
from tuner.engines.vllm import advice, causes, flags, identity, metrics
from tuner.engines.vllm import facts as reported
from tuner.engines.vllm import log as logs


class _Vllm:
    """The vLLM engine, as tuner.engines.engine.Engine asks for it."""

    name = "vllm"
    levers: Mapping[str, Lever] = reported.LEVERS
    simulated = True

    def owns(self, image: str, argv: Sequence[str]) -> bool:
        return identity.owns(image, argv)

    def port(self, uses: Sequence[FlagUse]) -> int:
        return flags.port(uses)

    def syntax(self) -> FlagSyntax:
        return flags.syntax()

    def spell(
        self,
        candidate: Candidate,
        baseline: Candidate,
        *,
        fixed: Mapping[str, Value] | None = None,
        version: str | None = None,
    ) -> list[FlagEdit]:
        return flags.spell(candidate, baseline, fixed, version)

    def knobs(self, flag: str) -> tuple[str, ...]:
        return flags.knobs(flag)

    def settings(self) -> Collection[str]:
        return flags.settings()

    def service(self, setting: str) -> str | None:
        return flags.says_of_service(setting)

    def misfit(self, knob: str, value: Value) -> str | None:
        return flags.misfit(knob, value)

    def read(self, uses: Sequence[FlagUse]) -> tuple[Candidate, dict[str, Value]]:
        return flags.read(uses)

    def check(self, uses: Sequence[FlagUse], version: str | None) -> list[FlagAdvice]:
        return advice.check(uses, version)

    def for_cpu(self, image: str, env_names: Collection[str]) -> bool:
        return identity.for_cpu(image, env_names)

    def on_cpu(self, log: str) -> bool:
        return logs.on_cpu(log)

    def facts(self, log: str, metrics: str) -> EngineFacts:
        return reported.facts(log, metrics)

    def differs(self, candidate: Candidate, facts: EngineFacts) -> dict[str, tuple[Value, Value]]:
        return reported.differs(candidate, facts)

    def diagnose(self, log: str, exit: Exit, under_load: bool) -> Failure:
        return causes.diagnose(log, exit, under_load)

    def may_pass(self, log: str) -> bool:
        return causes.may_pass(log)

    def counters(self, metrics_: str) -> Mapping[str, float]:
        return metrics.counters(metrics_)

    def ended(self, metrics_: str) -> Mapping[str, float]:
        return metrics.ended(metrics_)

    def redact(self, text: str) -> str:
        return redact(text)


VLLM = _Vllm()
