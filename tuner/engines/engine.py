"""The contract of an engine module: how knobs are spelled, what its log and metrics say, what its failures mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tuner.core.cause import Failure
from tuner.core.flags import FlagEdit, FlagSyntax, FlagUse
from tuner.core.hardware import EngineFacts
from tuner.core.knob import Candidate, Value


@dataclass(frozen=True)
class Exit:
    """How a container ended, as the platform saw it. `reason` is the platform's word ("OOMKilled", "Error")."""

    code: int | None
    reason: str = ""


@dataclass(frozen=True)
class FlagAdvice:
    """One flag that this version of the engine does not take as written, and what to write instead."""

    flag: str
    problem: str
    instead: str | None = None
    later: bool = False  # this version takes it as written; newer ones do not


@dataclass(frozen=True)
class Lever:
    """What a knob acts through alone: a figure of EngineFacts, which the knobs in `others` shape as well."""

    figure: str
    others: frozenset[str]


class Engine(Protocol):
    """One serving engine. Pure functions of text: an engine module makes no calls.

    `levers` has the knobs of which the engine's own report shows whether they do anything: a knob whose values leave
    its figure as it was has no effect. `simulated` says whether planner and simulator know how this engine behaves;
    for others nothing is expected, and rules of the field come first.
    """

    name: str
    levers: Mapping[str, Lever]
    simulated: bool

    def owns(self, image: str, argv: Sequence[str]) -> bool:
        """Whether a container with this image and command + args is one of this engine's servers."""
        ...

    def port(self, uses: Sequence[FlagUse]) -> int:
        """The port that the server listens on with these flags."""
        ...

    def syntax(self) -> FlagSyntax:
        """The command-line grammar: one reads every version."""
        ...

    def spell(
        self,
        candidate: Candidate,
        baseline: Candidate,
        *,
        fixed: Mapping[str, Value] | None = None,
        version: str | None = None,
    ) -> list[FlagEdit]:
        """The edits that turn a command line with `baseline`'s knobs into one with `candidate`'s.

        Knobs present in `baseline` and absent in `candidate` are removed; equal ones are left alone; an edit may remove
        a flag that is not there. `fixed` are the other settings that `read` found (what a knob's flag holds beside the
        knob stays, e.g. a draft model); `version` is the engine's (None: the newest known).
        Raises InvalidInput for a knob or value that the engine can't have.
        """
        ...

    def knobs(self, flag: str) -> tuple[str, ...]:
        """The knobs that a flag (its long name, with hyphens) sets; none where it is no knob's."""
        ...

    def settings(self) -> Collection[str]:
        """All that the newest known version's command line sets, by the names that knobs have."""
        ...

    def service(self, setting: str) -> str | None:
        """What one of `settings` says of the service ("where it listens"); None where it is about speed."""
        ...

    def misfit(self, knob: str, value: Value) -> str | None:
        """Why one of `settings` can't have this value, with what is allowed; None: it can."""
        ...

    def read(self, uses: Sequence[FlagUse]) -> tuple[Candidate, dict[str, Value]]:
        """The knobs that a command line sets, and the other settings that matter to planning (max_model_len, ...).

        The last use of a flag wins. Raises InvalidInput for a value that can't be read.
        """
        ...

    def check(self, uses: Sequence[FlagUse], version: str | None) -> list[FlagAdvice]:
        """Flags that the version does not know, that are misspelt or misused, with what to write instead."""
        ...

    def for_cpu(self, image: str, env_names: Collection[str]) -> bool:
        """Whether an image, or the environment set for it, is made for an engine on a CPU."""
        ...

    def on_cpu(self, log: str) -> bool:
        """Whether a start-up log says that the engine runs on a CPU."""
        ...

    def facts(self, log: str, metrics: str) -> EngineFacts:
        """What a started engine said of itself in its start-up log and on /metrics; both may be incomplete."""
        ...

    def differs(self, candidate: Candidate, facts: EngineFacts) -> dict[str, tuple[Value, Value]]:
        """Knobs that the engine reports with another value than asked for: name -> (asked, reported)."""
        ...

    def diagnose(self, log: str, exit: Exit, under_load: bool) -> Failure:
        """Name the cause of a start that failed or an engine that died, from its log and exit. Never raises.

        The message quotes the engine's own decisive line; evidence is a redacted excerpt.
        """
        ...

    def may_pass(self, log: str) -> bool:
        """Whether a start failed of what may be gone at the next: GPU memory that the engine before it still held."""
        ...

    def counters(self, metrics: str) -> Mapping[str, float]:
        """The engine's counters and gauges under our names: requests, running, waiting, preemptions, kv_usage, ...

        Only what the text has is there. Labels are summed (counters) or maximised (gauges).
        """
        ...

    def ended(self, metrics: str) -> Mapping[str, float]:
        """Requests that have ended since the engine's start, and the tokens of their prompts and answers.

        Under the names requests, prompt_tokens and output_tokens; only what the text has is there.
        """
        ...

    def redact(self, text: str) -> str:
        """`text` without secrets (API keys, tokens)."""
        ...
