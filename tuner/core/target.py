"""What a target is, found without changing anything."""

from __future__ import annotations

from dataclasses import dataclass, field

from tuner.core.hardware import Gpu, Model
from tuner.core.knob import Candidate, Value


@dataclass(frozen=True)
class TargetInfo:
    """What the target is, found without changing anything.

    `baseline` are the knobs that are set explicitly today (an absent knob is the engine's default). `gpu` is None on a
    CPU or where nobody could tell. `fixed` are other settings that matter to planning (max_model_len, ...).
    `image` identifies the engine's build: calibration and staleness are keyed by it. `uid` tells the target from others
    of its name, in other clusters and at other times. `pinned` are knobs that can't be turned there, each with the
    reason.
    """

    name: str
    engine: str
    version: str | None
    model: str
    model_shape: Model | None
    gpu: Gpu | None
    gpu_count: int
    baseline: Candidate
    image: str = ""
    uid: str = ""
    fixed: dict[str, Value] = field(default_factory=dict)
    pinned: dict[str, str] = field(default_factory=dict)
    on_cpu: bool = False
    simulated: bool = False
    notes: tuple[str, ...] = ()  # things the user should know, one sentence each
