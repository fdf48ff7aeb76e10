"""What is sent, as a study says it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from tuner.core.workload import Api, Arrival, Lengths, Pair, Shape, Workload
from tuner.probe.workload.lengths import read_pairs, summary
from tuner.probe.workload.traces import read_trace
from tuner.study.spec import fields
from tuner.study.spec.section import Section

_FILES = ("prompts_file", "lengths", "trace", "tokenizer")
# What a workload had when studies were first stored.
_FIRST_FIELDS = frozenset(("prompt", "output", "shared_prefix", "prefix_groups", "prompts_file", "api"))
_FIRST_SHAPE = ("shape", Shape.LOG_NORMAL.value)


class LengthsSpec(Section):
    """Token lengths around a mean, with a coefficient of variation."""

    mean: int = Field(ge=1, le=1_000_000)
    cv: float = Field(default=0.0, ge=0, le=3)
    shape: Shape = Field(default=Shape.LOG_NORMAL, strict=False)

    def core(self) -> Lengths:
        """As the probe takes it."""
        return Lengths(self.mean, self.cv, self.shape)


_Lengths = Annotated[
    LengthsSpec, BeforeValidator(fields.lengths), Field(description="tokens, e.g. 512 or {mean: 512, cv: 0.5}")
]


class WorkloadSpec(Section):
    """What requests look like."""

    prompt: _Lengths = LengthsSpec(mean=512)
    output: _Lengths = LengthsSpec(mean=128)
    shared_prefix: int = Field(default=0, ge=0, le=1_000_000)
    prefix_groups: int = Field(default=1, ge=1, le=100_000)
    prompts_file: fields.FileName | None = None
    api: Api = Field(default=Api.COMPLETIONS, strict=False)
    prefix_share: fields.Share = Field(default=1.0, gt=0, le=1, description="a share over 0% to 100%, e.g. 80% or 0.8")
    lengths: fields.LengthPairs | None = None
    trace: fields.TraceFile | None = None
    longest: int | None = Field(default=None, ge=2, le=10_000_000)
    held_out: fields.Share = Field(default=0.5, ge=0, le=0.9, description="a share from 0% to 90%, e.g. 30% or 0.3")
    arrivals: Arrival | None = Field(default=None, strict=False)
    burstiness: float | None = Field(default=None, ge=0.01, le=100)
    tokenizer: fields.TokenizerFile | None = None
    turns: int = Field(default=1, ge=1, le=1000)
    think: fields.Duration = Field(default=0.0, ge=0, le=86400, description="a time from 0s to 24h, e.g. 20s")

    @property
    def stated_lengths(self) -> bool:
        """Whether `prompt` and `output` are what is drawn from."""
        return self.lengths is None and self.trace is None

    def core(self) -> Workload:
        """As the probe takes it. Reads files of lengths and traces (InvalidInput where they can't be read)."""
        prompt, output, pairs = self.prompt.core(), self.output.core(), _pairs(self.lengths)
        counted: Sequence[Pair] = pairs
        if self.trace is not None:
            counted = [Pair(one.prompt_tokens, one.output_tokens) for one in read_trace(self.trace, self.longest)]
        if counted:  # in short, for those who plan by mean and spread
            weights = [pair.weight for pair in counted]
            prompt = summary([pair.prompt for pair in counted], weights)
            output = summary([pair.output for pair in counted], weights)
        return Workload(
            prompt,
            output,
            self.shared_prefix,
            self.prefix_groups,
            self.prompts_file,
            self.api,
            prefix_share=self.prefix_share,
            pairs=pairs,
            trace=self.trace,
            longest=self.longest,
            held_out=self.held_out,
            arrivals=self.arrivals or (Arrival.POISSON if self.trace is None else Arrival.TRACE),
            burstiness=self.burstiness or 1.0,
            tokenizer=self.tokenizer,
            turns=self.turns,
            think_s=self.think,
        )

    def identity(self) -> dict[str, Any]:
        """All that says what is sent; files by their content.

        Fields that studies did not always have are left out at their defaults, so that those of before can go on.
        """
        data, defaults = self.model_dump(mode="json"), WorkloadSpec().model_dump(mode="json")
        found = {name: value for name, value in data.items() if name in _FIRST_FIELDS or value != defaults[name]}
        if self.prompts_file is not None:
            found["held_out"] = self.held_out  # what a search measures depends on it
        for name in ("prompt", "output"):
            found[name] = {key: value for key, value in found[name].items() if (key, value) != _FIRST_SHAPE}
        return {**found, **self.files()}

    def files(self) -> dict[str, str]:
        """The content of each file that it names, as a hash (its path, where there is no such file any more)."""
        named = {name: getattr(self, name) for name in _FILES}
        return {name: _content(Path(path)) for name, path in named.items() if isinstance(path, str)}


def _pairs(lengths: str | Sequence[Sequence[Any]] | None) -> tuple[Pair, ...]:
    """Lengths as a study has them: pairs, or the path of a CSV file of them."""
    return read_pairs(lengths) if isinstance(lengths, str) else tuple(Pair(*pair) for pair in lengths or ())


def _content(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return str(path)  # gone since the study was stored
