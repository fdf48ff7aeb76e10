"""The fields of one start, computed from the original Deployment and never from what the last trial left."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.core.errors import Refused
from tuner.core.flags import FlagEdit, FlagSyntax
from tuner.core.knob import Candidate, Value
from tuner.engines.engine import Engine
from tuner.podspec import EngineContainer, edit
from tuner.podspec.container import accelerators
from tuner.targets.kubernetes import fields
from tuner.targets.kubernetes.fields import Fields, Object

_TENSOR_PARALLEL = "tensor_parallel_size"
# Beyond the rollout's own deadline, so that the controller does not call a start failed before the tuner does.
_DEADLINE_MARGIN_S = 600
# The runs that may be in the history beside the user's own revisions before they are deleted.
_HISTORY_MARGIN = 5
RECREATE = {"type": "Recreate"}


def for_start(
    original: Object,
    container: str,
    syntax: FlagSyntax,
    edits: list[FlagEdit],
    *,
    deadline_s: float,
    mark: str | None = None,
    recreate: bool = True,
    gpus: Mapping[str, str | None] | None = None,
    keep_history: bool = False,
) -> Fields:
    """The values to write for one start of the engine with `edits`.

    Both lists are written, also where one is as it was: the trial before may have changed it. `mark` makes a fresh
    start of equal settings. `keep_history` is set where the runs of trials are deleted afterwards, and makes room for
    them meanwhile.
    """
    before = fields.read(original, container)
    lists = edit(fields.container_of(original, container), syntax, edits)
    # The API server drops a list without items.
    values: Fields = {name: lists.get(name, before[name]) or None for name in (fields.ARGS, fields.COMMAND)}
    if mark is not None:
        values[fields.START] = mark
    if recreate:
        # A GPU is never needed twice: the old engine ends before the new one starts.
        values[fields.STRATEGY] = RECREATE
    values[fields.DEADLINE] = max(before[fields.DEADLINE] or 0, int(deadline_s) + _DEADLINE_MARGIN_S)
    if gpus is not None:
        values[fields.GPUS] = dict(gpus)
    if keep_history:
        values[fields.HISTORY] = (before[fields.HISTORY] or 0) + _HISTORY_MARGIN
    return values


def pinned(container: EngineContainer, engine: Engine, baseline: Candidate) -> dict[str, str]:
    """The knobs that no start can set, each with the reason: a trial that turns one would be refused."""
    found = {}
    for flag, variables in container.referenced.items():
        names = ", ".join(f"$({name})" for name in variables)
        text = f"set from the environment ({names}); write its value into {container.field}"
        found.update(dict.fromkeys(engine.knobs(flag), text))
    why = _unscalable(container.accelerators, baseline.get(_TENSOR_PARALLEL, 1))
    if why is not None:
        found.setdefault(_TENSOR_PARALLEL, why)
    return found


def _unscalable(asked: Mapping[str, int], before: Value) -> str | None:
    """Why the GPU limit can't be scaled to another tensor parallelism than `before`; None: it can."""
    other = next((name for name in asked if name != fields.GPU), None)
    if other is not None:
        return f"it takes the GPU limit along, which is of {other} here: only limits of {fields.GPU} can be scaled"
    count = asked.get(fields.GPU, 0)
    if not isinstance(before, int) or count % before:
        return f"it takes the GPU limit along, and a limit of {count} for {before} can't be scaled"
    return None


def gpus_for(
    original: Object, container: str, baseline: Candidate, candidate: Candidate
) -> dict[str, str | None] | None:
    """The GPU limit and request for a candidate's tensor parallelism; None where they stay.

    Raises Refused where the limit does not divide: it counts GPUs for more than tensor parallelism then.
    """
    before, after = baseline.get(_TENSOR_PARALLEL, 1), candidate.get(_TENSOR_PARALLEL, 1)
    asked: dict[str, str | None] = fields.read(original, container, [fields.GPUS])[fields.GPUS]
    if before != after and not any(asked.values()) and accelerators(fields.container_of(original, container)):
        raise Refused(f"{_TENSOR_PARALLEL} {after}: only limits of {fields.GPU} can be scaled to it")
    if not any(asked.values()) or _TENSOR_PARALLEL not in {*baseline, *candidate}:
        return None
    scaled: dict[str, str | None] = {}
    for kind, count in asked.items():
        if count is None:
            scaled[kind] = None
            continue
        if not isinstance(before, int) or not isinstance(after, int) or int(count) * after % before:
            raise Refused(f"{_TENSOR_PARALLEL} {after}: a limit of {count} GPUs for {before} can't be scaled to it")
        scaled[kind] = str(int(count) * after // before)
    return scaled


def deadlocks(original: Object, container: str) -> bool:
    """Whether a rolling update of this Deployment would start its new pod before the old one gives its GPU back."""
    spec = original["spec"]
    limits = (fields.container_of(original, container).get("resources") or {}).get("limits") or {}
    if spec["strategy"]["type"] != "RollingUpdate" or not any("/" in name for name in limits):
        return False
    unavailable = (spec["strategy"].get("rollingUpdate") or {}).get("maxUnavailable", "25%")
    if isinstance(unavailable, str):
        # Shares of maxUnavailable are rounded down: a quarter of one replica is none.
        unavailable = int(unavailable.rstrip("%")) * spec.get("replicas", 1) // 100
    return int(unavailable) == 0
