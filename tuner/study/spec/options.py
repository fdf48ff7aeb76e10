"""Command-line options as fields of a study: which option sets which field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.core.errors import InvalidInput
from tuner.study.spec.document import FieldPath, parse_scalar

#: Options by their spelling without dashes, and the field that each sets.
OPTIONS: Mapping[str, FieldPath] = {
    "name": ("name",),
    "namespace": ("target", "kubernetes", "namespace"),
    "deployment": ("target", "kubernetes", "deployment"),
    "context": ("target", "kubernetes", "context"),
    "kubeconfig": ("target", "kubernetes", "kubeconfig"),
    "endpoint": ("target", "kubernetes", "endpoint"),
    "allow-foreign-traffic": ("target", "kubernetes", "allow_foreign_traffic"),
    "simulated": ("target", "simulated"),
    "model": ("model",),
    "gpu": ("gpu",),
    "gpu-count": ("gpu_count",),
    "prompt-tokens": ("workload", "prompt"),
    "output-tokens": ("workload", "output"),
    "shared-prefix": ("workload", "shared_prefix"),
    "prompts-file": ("workload", "prompts_file"),
    "trace": ("workload", "trace"),
    "arrivals": ("workload", "arrivals"),
    "burstiness": ("workload", "burstiness"),
    "api": ("workload", "api"),
    "slo": ("slos",),
    "objective": ("objective", "kind"),
    "count": ("objective", "count"),
    "rate": ("objective", "rate"),
    "concurrency": ("objective", "concurrency"),
    "knob": ("search", "knobs"),
    "allow-output-change": ("search", "allow_output_change"),
    "sampler": ("search", "sampler"),
    "starts": ("budget", "starts"),
    "gpu-minutes": ("budget", "gpu_minutes"),
    "pairs": ("budget", "pairs"),
    "smallest-gain": ("budget", "smallest_gain"),
    "probe": ("budget", "probe"),
    "until": ("until",),
    "seed": ("seed",),
    "storage": ("storage",),
    "rollout-deadline": ("rollout_deadline",),
}
# Their values may come as text, where the command line has not read them yet.
_TEXTS = frozenset(
    ("name", "namespace", "deployment", "context", "kubeconfig", "endpoint", "model", "prompts-file", "trace", "until")
)


@dataclass
class Given:
    """What the user gave, file and options together, and where each field comes from.

    The fields in `broken` are given, but can't be read, so that they are not in the data.
    """

    data: dict[str, Any]
    sources: dict[FieldPath, str]
    broken: list[FieldPath] = field(default_factory=list)


def merge(given: Given, options: Mapping[str, Any]) -> None:
    """Lay `options` (by their spelling, dashes or not) over what a file said. None and empty lists are not given.

    Raises InvalidInput for options that can't be read; an unknown option is a mistake of the caller (KeyError).
    """
    problems: list[str] = []
    named = {_plain(name): value for name, value in options.items() if value is not None and value not in ([], ())}
    for name, value in named.items():
        try:
            _SPECIAL.get(name, _set)(given, name, value)
        except ValueError as error:
            problems.append(f"--{name}: {error}")
            given.broken.append(OPTIONS[name])
    sides = [name for name in named if OPTIONS[name][:1] == ("target",)]
    if "simulated" in sides and len(sides) > 1:
        others = ", ".join(
            "DEPLOYMENT" if name == "deployment" else f"--{name}" for name in sides if name != "simulated"
        )
        problems.append(f"--simulated: is given together with {others}; a study has one target")
    if problems:
        raise InvalidInput(*problems)


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


def _set(given: Given, name: str, value: Any) -> None:
    if name not in _TEXTS and isinstance(value, str):
        value = parse_scalar(value)
    _put(given, OPTIONS[name], value, f"--{name}")


def _put(given: Given, path: FieldPath, value: Any, source: str) -> None:
    _forget(given, path)
    section = given.data
    for part in path[:-1]:
        if not isinstance(section.get(str(part)), dict):
            section[str(part)] = {}
        section = section[str(part)]
    section[str(path[-1])] = value
    given.sources[path] = source


def _forget(given: Given, path: FieldPath) -> None:
    """An option replaces all that a file said below the same field."""
    for known in [known for known in given.sources if known[: len(path)] == path]:
        del given.sources[known]


def _set_target(given: Given, name: str, value: Any) -> None:
    """An option for one kind of target makes it the study's target, whichever the file names."""
    path = OPTIONS[name]
    target = given.data.get("target")
    if not isinstance(target, dict) or path[1] not in target:
        _forget(given, ("target",))
        given.data["target"] = {}
    _set(given, name, value)


def _set_objective(given: Given, name: str, value: Any) -> None:
    """Another kind of objective than the file's leaves the file's rate and concurrency behind."""
    objective = given.data.get("objective")
    if isinstance(objective, dict) and objective.get("kind", "capacity") != value:
        given.data["objective"] = {key: item for key, item in objective.items() if key == "count"}
    _set(given, name, value)


def _set_knobs(given: Given, name: str, value: Any) -> None:
    """`--knob NAME=VALUE` fixes a knob, `--knob NAME=LOW..HIGH` sets its range, `--knob NAME=drop` leaves it out."""
    for text in [value] if isinstance(value, str) else value:
        knob, separator, wanted = str(text).partition("=")
        if not separator or not knob.strip() or not wanted.strip():
            raise ValueError(f"{text!r}; allowed: NAME=VALUE, NAME=LOW..HIGH, NAME=A,B,C, NAME=search or NAME=drop")
        _put(given, ("search", "knobs", knob.strip().replace("-", "_")), _knob(wanted.strip()), f"--{name}")


def _knob(text: str) -> Any:
    low, separator, high = text.partition("..")
    if separator:
        return {"low": parse_scalar(low.strip()), "high": parse_scalar(high.strip())}
    if "," in text:
        return [parse_scalar(part.strip()) for part in text.split(",")]
    return parse_scalar(text)


def _set_slos(given: Given, name: str, value: Any) -> None:
    _put(given, OPTIONS[name], [value] if isinstance(value, str) else list(value), f"--{name}")


_SPECIAL: Mapping[str, Callable[[Given, str, Any], None]] = {
    **{name: _set_target for name, path in OPTIONS.items() if path[0] == "target"},
    "objective": _set_objective,
    "knob": _set_knobs,
    "slo": _set_slos,
}
