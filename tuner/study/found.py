"""What a study keeps of the target that it found, and what that says when the target is met again."""

from __future__ import annotations

from dataclasses import replace

from tuner.core.target import TargetInfo
from tuner.simulator.catalogue import find_gpu
from tuner.store import StudyRecord


def described(info: TargetInfo) -> dict[str, object]:
    """What was found, as it is kept: trials of a study are comparable while all of it stays the same."""
    return {
        "uid": info.uid,
        "engine": info.engine,
        "version": info.version,
        "model": info.model,
        "gpu": info.gpu.name if info.gpu else None,
        "gpu_count": info.gpu_count,
        "on_cpu": info.on_cpu,
        "image": info.image,
        "baseline": dict(info.baseline),
        "fixed": dict(info.fixed),
        "simulated": info.simulated,
    }


def differs_from(study: StudyRecord, info: TargetInfo) -> str:
    """Why `study` can't go on with the target as it is: its trials were measured on another. Empty: it can."""
    found = described(info)
    changed = [name for name in found if _told_apart(name, study.info.get(name), found[name])]
    if "uid" in changed:
        return f"study {study.name} was of another Deployment of this name"
    words = ["set of flags that are no knobs" if name == "fixed" else name for name in changed]
    return f"study {study.name} was measured with another {' and '.join(words)}" if changed else ""


def _told_apart(name: str, before: object, now: object) -> bool:
    """Whether a fact has changed.

    Version and GPU are only compared where both are known, as an engine that is down does not tell them; so are other
    flags, which studies did not always keep.
    """
    if name in ("version", "gpu", "fixed") and None in (before, now):
        return False
    if name == "version":  # without what a build adds to it
        return str(before).partition("+")[0] != str(now).partition("+")[0]
    return before != now


def recalled(info: TargetInfo, study: StudyRecord | None) -> TargetInfo:
    """What was found, with what the engine said of its hardware when `study` began, where it is down and says nothing.

    The same Deployment with the same image runs on the same hardware.
    """
    if study is None or (study.info.get("uid"), study.info.get("image")) != (info.uid, info.image):
        return info
    if study.info.get("on_cpu"):
        return replace(info, on_cpu=True, gpu=None, gpu_count=study.info["gpu_count"])
    known = study.info.get("gpu")
    return replace(info, gpu=find_gpu(known)) if info.gpu is None and known else info
