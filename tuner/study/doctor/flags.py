"""What an engine's command line says: version, knobs, what can be tuned and why not, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.core.errors import InvalidInput
from tuner.core.flags import FlagUse
from tuner.core.hardware import Gpu, Model
from tuner.core.knob import Candidate, Value
from tuner.core.target import TargetInfo
from tuner.engines import Engine
from tuner.engines.engine import FlagAdvice
from tuner.export.document import dump
from tuner.podspec import EngineContainer
from tuner.podspec.image import tag, tag_version
from tuner.search.loading import load_space
from tuner.search.space import Space, describe
from tuner.study import units
from tuner.study.doctor.finding import Finding, Severity
from tuner.study.doctor.translate import translate
from tuner.targets.kubernetes.model import model_of, positional_model

_PARALLEL = frozenset({"tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size"})


@dataclass(frozen=True)
class Patient:
    """An engine's container as examined. `version` is assumed, or read from the image's tag; None: unknown."""

    where: str
    engine: Engine
    found: EngineContainer
    container: Mapping[str, Any]
    version: str | None
    assumed: bool
    gpu: Gpu | None = None
    model: Model | None = None  # by the user's word

    @property
    def on_cpu(self) -> bool:
        """Whether it serves on a CPU: it asks for no GPU, and its image or environment says so."""
        return not self.found.gpu_count and self.engine.for_cpu(self.found.image, self.found.env_names)

    def port(self) -> int | None:
        """Where the engine listens; None where the command line does not tell."""
        if "port" in self.found.referenced:
            return None
        try:
            return self.engine.port(self.found.readable)
        except InvalidInput:
            return None


def patient(
    where: str,
    engine: Engine,
    found: EngineContainer,
    container: Mapping[str, Any],
    assume_version: str | None,
    gpu: Gpu | None = None,
    model: Model | None = None,
) -> Patient:
    """A container to examine; `assume_version` goes before the image's tag."""
    version = assume_version or tag_version(found.image)
    return Patient(where, engine, found, container, version, assume_version is not None, gpu, model)


def flag_findings(patient: Patient) -> list[Finding]:
    """Which engine it is, and what is wrong with its command line."""
    advice = patient.engine.check(patient.found.uses, patient.version)
    baseline, fixed, unreadable = _read(patient)
    broken = any(not entry.later for entry in advice)
    return [
        _engine(patient, fixed),
        *([] if broken else unreadable),
        *advice_findings(patient, advice),
        *_gpus(patient, baseline, fixed),
        *_secrets(patient),
    ]


def advice_findings(patient: Patient, advice: Sequence[FlagAdvice]) -> list[Finding]:
    """The engine's advice on flags: blockers where this version stops at them, notes where only a newer one would.

    Of an unknown version nobody can say more than a warning.
    """
    return [
        Finding(
            Severity.NOTE if entry.later else _weight(entry, patient.version),
            patient.where,
            entry.flag,
            entry.problem,
            entry.instead,
        )
        for entry in advice
    ]


def _weight(entry: FlagAdvice, version: str | None) -> Severity:
    return Severity.WARNING if version is None or "no effect" in entry.problem else Severity.BLOCKER


def _engine(patient: Patient, fixed: Mapping[str, Value]) -> Finding:
    found, name = patient.found, patient.engine.name
    gpus = f"{found.gpu_count} GPU{'' if found.gpu_count == 1 else 's'}" if found.gpu_count else "no GPU asked for"
    model = f", model {fixed['model']}" if "model" in fixed else ""
    subject = f"container {found.name}"
    if patient.version is None:
        text = (
            f"{name} of unknown version (image tag {tag(found.image) or 'missing'}), {gpus}{model}: its flags are "
            "checked against the newest version known"
        )
        return Finding(Severity.NOTE, patient.where, subject, text, "say which it is: --assume-version VERSION")
    source = "as you say" if patient.assumed else "by its image's tag"
    return Finding(Severity.OK, patient.where, subject, f"{name} {patient.version} ({source}), {gpus}{model}")


def _read(patient: Patient) -> tuple[Candidate, dict[str, Value], list[Finding]]:
    """Knobs and other settings; where one can't be read, the rest of them."""
    uses = patient.found.readable
    try:
        return *patient.engine.read(uses), []
    except InvalidInput as error:
        problems = [Finding(Severity.BLOCKER, patient.where, "flags", problem) for problem in error.problems]
    good = [use for use in uses if _legible(patient.engine, use)]
    try:
        return *patient.engine.read(good), problems
    except InvalidInput:
        return Candidate(), {}, problems


def _legible(engine: Engine, use: FlagUse) -> bool:
    try:
        engine.read([use])
    except InvalidInput:
        return False
    return True


def _gpus(patient: Patient, baseline: Candidate, fixed: Mapping[str, Value]) -> Iterator[Finding]:
    tensor, pipeline = baseline.get("tensor_parallel_size", 1), fixed.get("pipeline_parallel_size", 1)
    data = fixed.get("data_parallel_size", 1)
    hidden = patient.found.referenced.keys() & _PARALLEL
    if hidden or not all(isinstance(size, int) for size in (tensor, pipeline, data)):
        return
    needed, given = int(tensor) * int(pipeline) * int(data), patient.found.gpu_count
    if given and needed > given:
        text = f"the flags ask for {needed} GPUs (tensor x pipeline x data parallel), the pod for {given}"
        yield Finding(Severity.BLOCKER, patient.where, "GPUs", text, f"nvidia.com/gpu: {needed}")
    elif given > needed:
        text = f"the pod asks for {given} GPUs, the flags use {needed}: the rest stand idle"
        yield Finding(Severity.WARNING, patient.where, "GPUs", text, f"--tensor-parallel-size={given}")


def target_info(patient: Patient) -> TargetInfo:
    """The engine as a target, as far as its manifest and the user tell; settings that can't be read are left out."""
    baseline, fixed, _ = _read(patient)
    model = str(fixed.get("model") or positional_model(patient.found.argv) or "")
    parallel = 0 if patient.on_cpu else int(baseline.get("tensor_parallel_size", 1))
    return TargetInfo(
        name=patient.where,
        engine=patient.engine.name,
        version=patient.version,
        model=model,
        model_shape=patient.model or model_of(model),
        gpu=patient.gpu,
        gpu_count=patient.found.gpu_count or parallel,
        baseline=baseline,
        image=patient.found.image,
        fixed=fixed,
        on_cpu=patient.on_cpu,
    )


def knob_findings(patient: Patient, info: TargetInfo) -> list[Finding]:
    """Each tunable knob: its value today, and the range it is searched in or why it is not."""
    space = load_space(patient.engine.name, info)
    referenced = {
        knob: names for flag, names in patient.found.referenced.items() for knob in patient.engine.knobs(flag)
    }
    return [_knob(patient, name, reason, info.baseline, space, referenced) for name, reason in _tunables(space)]


def _tunables(space: Space) -> list[tuple[str, str | None]]:
    """Every knob of the space with the reason why it is not searched (None: it is). Reasons about choices go along."""
    reasons: dict[str, str] = {}
    for left in space.left_out:
        reasons[left.knob] = f"{reasons[left.knob]}; {left.reason}" if left.knob in reasons else left.reason
    searched: list[tuple[str, str | None]] = [(knob.name, None) for knob in space.knobs]
    return searched + [(name, reason) for name, reason in reasons.items() if name not in space.by_name]


def _knob(
    patient: Patient,
    name: str,
    reason: str | None,
    baseline: Candidate,
    space: Space,
    referenced: Mapping[str, tuple[str, ...]],
) -> Finding:
    current = units.setting(baseline.get(name))
    if name in referenced:
        variables = ", ".join(f"$({variable})" for variable in referenced[name])
        text = f"set from the environment ({variables}): can't be tuned as it is"
        instead = f"write its value into {patient.found.field}"
        return Finding(Severity.NOTE, patient.where, name, text, instead)
    if reason is not None:
        return Finding(Severity.NOTE, patient.where, name, f"{current}; not searched: {reason}")
    partly = "".join(f"; {left.reason}" for left in space.left_out if left.knob == name)
    text = f"{current}; can be tuned: {describe(space.by_name[name])}{partly}"
    return Finding(Severity.OK, patient.where, name, text)


def _secrets(patient: Patient) -> Iterator[Finding]:
    for use in patient.found.uses:
        if patient.engine.redact(use.text) != use.text:
            text = "a secret is written into the Deployment, where everybody who may read it sees it"
            instead = "VLLM_API_KEY from a Secret (env: valueFrom: secretKeyRef)" if use.name == "api-key" else None
            yield Finding(Severity.WARNING, patient.where, f"--{use.name}", text, instead or "take it from a Secret")


def suggestions(patient: Patient) -> Iterator[Finding]:
    """The corrected lists: for this version, and where they differ for current ones too."""
    found, name = patient.found, patient.engine.name
    advice = patient.engine.check(found.uses, patient.version)
    now = [entry for entry in advice if not entry.later]
    lists = translate(patient.container, found.uses, now)
    said = f"{name} {patient.version}" if patient.version else f"the newest {name} known"
    if lists:
        yield _suggestion(patient, f"corrected for {said}", lists)
    if any(entry.later for entry in advice):
        newest = translate(patient.container, found.uses, patient.engine.check(found.uses, None))
        if newest and newest != lists:
            yield _suggestion(patient, f"translated for current versions of {name}", newest)


def _suggestion(patient: Patient, text: str, lists: Mapping[str, list[str]]) -> Finding:
    shown = patient.engine.redact(dump(lists)).rstrip("\n")
    return Finding(Severity.NOTE, patient.where, " and ".join(lists), text, shown)
