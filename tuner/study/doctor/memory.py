"""Whether an engine's memory is expected to suffice; and where nobody can tell, what would have to be known."""

from __future__ import annotations

from dataclasses import fields

from tuner.core.cause import TrialFailed
from tuner.core.target import TargetInfo
from tuner.simulator.memory import MemoryPlan, plan
from tuner.simulator.settings import NotModelled, Settings, resolve
from tuner.study.doctor.finding import Finding, Severity
from tuner.study.doctor.flags import Patient

_SUBJECT = "GPU memory"
_SHAPING = frozenset({"model", *(field.name for field in fields(Settings))})


def memory_findings(patient: Patient, info: TargetInfo) -> list[Finding]:
    """What the planner expects of the memory of the engine as it is. Nothing on a CPU, where it knows none.

    A prediction blocks nothing: an engine that runs has shown that it does.
    """
    if patient.on_cpu or not patient.engine.simulated:
        return []
    unknown, instead = _unknown(patient, info)
    if unknown or info.gpu is None or info.model_shape is None:
        return [Finding(Severity.NOTE, patient.where, _SUBJECT, f"not judged: {unknown}", instead)]
    count = max(1, info.gpu_count)
    on = f"{count} x {info.gpu.name}"
    try:
        settings = resolve(info.baseline, info.fixed, info.model_shape, info.gpu, count, info.version)
    except NotModelled:
        text = "not judged: the planner does not know this --kv-cache-dtype, or this method of speculation"
        return [Finding(Severity.NOTE, patient.where, _SUBJECT, text)]
    except TrialFailed as refused:
        text = f"expected not to start on {on}: {refused.failure.message}"
        return [Finding(Severity.WARNING, patient.where, _SUBJECT, text)]
    return [_judged(patient.where, on, plan(info.model_shape, info.gpu, settings), settings)]


def _unknown(patient: Patient, info: TargetInfo) -> tuple[str, str | None]:
    """What keeps the planner from judging, and what to write so that it can; nothing where it can."""
    missing = {
        "the GPU": ("--gpu GPU", info.gpu),
        "the model's shape": ("--model MODEL (a name of the catalogue, or a config.json)", info.model_shape),
    }
    asked = {name: option for name, (option, known) in missing.items() if known is None}
    if asked:
        verb = "is" if len(asked) == 1 else "are"
        return f"{' and '.join(asked)} {verb} not known", " ".join(("tuner doctor ...", *asked.values()))
    hidden = [f"--{flag}" for flag in patient.found.referenced if flag.replace("-", "_") in _SHAPING]
    if hidden:
        return f"{' and '.join(hidden)} set from the environment", None
    return "", None


def _judged(where: str, on: str, memory: MemoryPlan, settings: Settings) -> Finding:
    if memory.refusal is not None:
        doubt = "" if memory.certain else " (close to the edge: only a start tells)"
        text = f"expected not to start on {on}{doubt}: {memory.refusal.message}"
        return Finding(Severity.WARNING, where, _SUBJECT, text)
    text = (
        f"expected to suffice on {on}: {memory.kv_gib:.1f} GiB for the KV cache, which holds {memory.kv_tokens:,} "
        f"tokens, or {memory.max_concurrency:.1f} requests of --max-model-len {settings.max_model_len}"
    )
    if not memory.certain:
        return Finding(Severity.NOTE, where, _SUBJECT, f"{text}; close to the edge: only a start tells")
    return Finding(Severity.OK, where, _SUBJECT, text)
