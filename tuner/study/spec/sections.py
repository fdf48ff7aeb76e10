"""What a user asks for: a study, as a YAML file and options say it. docs/spec.md explains every field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tuner.core.knob import Candidate
from tuner.core.slo import Metric, Slo, parse_slo
from tuner.core.workload import Count, Objective, ObjectiveKind, Workload
from tuner.probe.job import Limits
from tuner.store.url import masked
from tuner.study.spec import fields
from tuner.study.spec.section import Section
from tuner.study.spec.workload import WorkloadSpec

DEFAULT_SLOS = ("ttft p95 <= 1s", "itl p99 <= 100ms")
#: Of every study: an engine that drops work serves the rest the quicker. A request that fails exceeds every bound, so a
#: promise that allows no more exceedances than this holds it too.
LEAST_PROMISE = parse_slo("error rate <= 5%")
# Any of these says what requests are.
_SOURCES = frozenset(("prompt", "output", "prompts_file", "lengths", "trace"))


class KubernetesSpec(Section):
    """A Deployment in a cluster. Without a namespace it is the context's own; without a name the only engine in it."""

    namespace: fields.Label | None = None
    deployment: fields.Subdomain | None = None
    context: fields.Text | None = None
    kubeconfig: fields.Text | None = None
    endpoint: fields.Endpoint | None = None
    allow_foreign_traffic: bool = False
    mode: Literal["live"] = "live"


class SimulatedSpec(Section):
    """A simulated GPU and model. `baseline` are its engine's flags at first; `seed` draws its hidden truth."""

    gpu: fields.GpuName
    model: fields.ModelName
    count: int = Field(default=1, ge=1, le=64)
    baseline: Annotated[dict[str, fields.KnobValue], BeforeValidator(fields.knob_names)] = Field(
        default_factory=dict, description="a mapping from flag to value, e.g. {max_num_seqs: 64}"
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1)

    @property
    def candidate(self) -> Candidate:
        """The baseline as knobs."""
        return Candidate.of(self.baseline)


class TargetSpec(Section):
    """Where the engine runs: exactly one of the two."""

    kubernetes: KubernetesSpec | None = None
    simulated: Annotated[SimulatedSpec, BeforeValidator(fields.hardware)] | None = Field(
        default=None, description="GPU/MODEL, e.g. h100/llama-3.1-8b or 2xh100/llama-3.1-8b, or a mapping"
    )


class ObjectiveSpec(Section):
    """What is maximised."""

    kind: ObjectiveKind = Field(default=ObjectiveKind.CAPACITY, strict=False)
    count: Count = Field(default=Count.OUTPUT_TOKENS, strict=False)
    rate: float | None = Field(default=None, gt=0, le=1e6)
    concurrency: int | None = Field(default=None, ge=1, le=100_000)

    def core(self) -> Objective:
        """As the judge takes it."""
        return Objective(self.kind, self.count, self.rate, self.concurrency)


class SearchSpec(Section):
    """What may be changed. `knobs` are edits of the engine's search space (search_spaces/vllm.yaml)."""

    knobs: Annotated[dict[str, Any], BeforeValidator(fields.knob_names)] = Field(
        default_factory=dict, description="a mapping from knob to a value, a range, 'search' or 'drop'"
    )
    allow_output_change: bool = False
    sampler: Literal["tpe", "random"] = "tpe"


class BudgetSpec(Section):
    """What may be spent. `pairs` is the most that the confirmation takes, two engine starts each."""

    starts: int = Field(default=20, ge=1, le=10_000)
    gpu_minutes: float | None = Field(default=None, gt=0, le=1e6)
    pairs: int = Field(default=6, ge=2, le=100)
    smallest_gain: fields.Share = Field(
        default=0.05, gt=0, le=1, description="a share over 0% to 100%, e.g. 5% or 0.05"
    )
    restart_cv: fields.Share = Field(
        default=0.035, gt=0, le=0.5, description="a share over 0% to 50%, e.g. 3.5% or 0.035"
    )

    level: fields.Duration = Field(default=120.0, ge=5, le=3600, description="a time of 5s to 1h, e.g. 30s or 2min")
    probe: fields.Duration = Field(default=1800.0, ge=20, le=86400, description="a time of 20s to 24h, e.g. 5min")

    @property
    def least_starts(self) -> int:
        """The baseline, one candidate, and the confirmation's share."""
        return 2 + 2 * self.pairs


class StudySpec(Section):
    """A whole study. Make one with `load_spec` or `from_dict`."""

    name: fields.StudyName | None = None
    target: TargetSpec = Field(description="kubernetes: {...} or simulated: GPU/MODEL")
    engine: fields.EngineName = "vllm"
    model: fields.ModelName | None = None
    gpu: fields.GpuName | None = None
    gpu_count: int | None = Field(default=None, ge=1, le=64)
    workload: WorkloadSpec = WorkloadSpec()
    slos: list[fields.SloText] | None = Field(default=None, description="a list of SLOs, e.g. [ttft p95 <= 500ms]")
    objective: Annotated[ObjectiveSpec, BeforeValidator(fields.kind)] = ObjectiveSpec()
    search: SearchSpec = SearchSpec()
    budget: BudgetSpec = BudgetSpec()
    until: fields.Moment = None
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    storage: fields.StorageUrl | None = None
    rollout_deadline: fields.Duration = Field(
        default=1200.0, ge=10, le=86400, description="a duration from 10s to 24h, e.g. 90s, 15min or 2h30m"
    )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StudySpec:
        """The study that `to_dict` was called on, less the password in its storage URL."""
        own = {key: value for key, value in data.items() if key not in ("fingerprint", "files", "assumed")}
        return cls.model_validate(own)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values; the storage's password is hidden.

        With `fingerprint`, `files` (hashes of what the workload's hold) and `assumed`.
        """
        data = self.model_dump(mode="json")
        data["slos"] = self._slo_texts
        data["storage"] = None if self.storage is None else masked(self.storage)
        return {**data, "fingerprint": self.fingerprint, "files": self.workload.files(), "assumed": self.assumed}

    @property
    def rollout_deadline_s(self) -> float:
        """Seconds that a rollout may take."""
        return self.rollout_deadline

    def core_workload(self) -> Workload:
        """What is sent, as the probe takes it."""
        return self.workload.core()

    def core_objective(self) -> Objective:
        """What is maximised, as the judge takes it."""
        return self.objective.core()

    def core_slos(self) -> tuple[Slo, ...]:
        """What is promised, as the judge takes it."""
        return tuple(parse_slo(text) for text in self._slo_texts)

    def core_limits(self) -> Limits:
        """How long one start may be under load, as the probe takes it."""
        return Limits(level_s=self.budget.level, total_s=self.budget.probe)

    @property
    def _slo_texts(self) -> list[str]:
        closed = self.objective.kind is ObjectiveKind.THROUGHPUT
        texts = list(self.slos if self.slos is not None else () if closed else DEFAULT_SLOS)
        return texts if any(_limits_errors(parse_slo(text)) for text in texts) else [*texts, str(LEAST_PROMISE)]

    @property
    def assumed(self) -> list[str]:
        """What the user left open and is assumed, one sentence each, to be said before the study begins."""
        said = self.model_fields_set
        found = []
        if "workload" not in said or not _SOURCES & self.workload.model_fields_set:
            w = self.workload
            found.append(f"workload: synthetic prompts of {w.prompt.mean} tokens, {w.output.mean} output tokens each")
        if self.slos is None:
            found.append(f"slos: {' and '.join(self._slo_texts)}")
        elif len(self._slo_texts) > len(self.slos):
            found.append(f"slos: {LEAST_PROMISE}, because nothing else limits how many requests may fail")
        if "objective" not in said:
            found.append("objective: capacity, the highest rate at which every SLO holds, in output tokens/s")
        if "starts" not in self.budget.model_fields_set:
            b = self.budget
            found.append(f"budget: {b.starts} engine starts, up to {2 * b.pairs} of them to confirm the winner")
        return found

    @property
    def warnings(self) -> list[str]:
        """What is allowed but may not mean what it seems to, one sentence each."""
        if self.objective.kind is not ObjectiveKind.THROUGHPUT:
            return []
        return [
            f"slos: {slo}: in a closed loop this measures the concurrency chosen as much as the engine"
            for slo in self.core_slos()
            if slo.metric.value in ("ttft", "e2e")
        ]

    @property
    def fingerprint(self) -> str:
        """A hash of all that makes trials comparable: a study goes on only under the same one.

        Budget in starts and minutes, deadlines, names and places are left out: those may change when a study goes on.
        """
        simulated = self.target.simulated
        matters = {
            "simulated": None if simulated is None else simulated.model_dump(mode="json"),
            "engine": self.engine,
            "hardware": [self.model, self.gpu, self.gpu_count],
            "workload": self.workload.identity(),
            "slos": sorted([s.metric.value, s.statistic, repr(s.bound)] for s in self.core_slos()),
            "objective": self.objective.model_dump(mode="json"),
            "search": self.search.model_dump(mode="json"),
            "confirmation": [self.budget.pairs, self.budget.smallest_gain, self.budget.restart_cv],
            "probe": [self.budget.level, self.budget.probe],
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(matters, sort_keys=True).encode()).hexdigest()


def _limits_errors(slo: Slo) -> bool:
    if slo.metric is Metric.ERROR_RATE:
        return True
    return slo.allowed_share is not None and slo.allowed_share <= LEAST_PROMISE.bound
