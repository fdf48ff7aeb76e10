"""The engine's container inside a pod template, found by what it is and never by its place in the list."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.core.flags import FlagSyntax, FlagUse
from tuner.podspec.flags import parse, references
from tuner.podspec.launch import command_line, launch
from tuner.podspec.schema import TEMPLATE, misbuilt
from tuner.podspec.shapes import Shape, Unsupported, UnsupportedShape, malformed, unsupported

Owns = Callable[[str, Sequence[str]], bool]

_GPU = re.compile(r"nvidia\.com/(gpu|mig-).*|amd\.com/gpu.*")
_OTHER_ACCELERATOR = re.compile(
    r"gpu\.intel\.com/.*|google\.com/tpu|cloud-tpus\.google\.com/.*|habana\.ai/.*|aws\.amazon\.com/neuron.*"
    r"|huawei\.com/Ascend.*"
)


@dataclass(frozen=True)
class EngineContainer:
    """The engine's container, as read. Of its environment only the names are kept.

    `field` is the list that new flags go to ("args" or "command"); `argv` is command + args; `uses` are all flags in
    it, `index` counting in `argv`. `accelerators` are those that the container asks for, by resource name.
    """

    name: str
    image: str
    field: str
    argv: tuple[str, ...]
    uses: tuple[FlagUse, ...]
    accelerators: Mapping[str, int]
    ports: tuple[int, ...]
    env_names: tuple[str, ...]

    @property
    def gpu_count(self) -> int:
        """How many accelerators it asks for (0: none)."""
        return sum(self.accelerators.values())

    @property
    def hardware_refusal(self) -> str | None:
        """Why an engine on this hardware can't be tuned; None: it can."""
        other = next((name for name in self.accelerators if _OTHER_ACCELERATOR.fullmatch(name)), None)
        if other is None:
            return None
        return f"it runs on {other}: only GPUs of NVIDIA and AMD can be tuned so far, others take other settings"

    @property
    def readable(self) -> tuple[FlagUse, ...]:
        """The uses whose values are written out: those with `$(NAME)` in them are left out."""
        return tuple(use for use in self.uses if not references(use.text))

    @property
    def referenced(self) -> dict[str, tuple[str, ...]]:
        """Flags whose values come from environment variables: the flag's name -> names of the variables."""
        found = {use.known_as: references(use.text) for use in self.uses}
        return {name: variables for name, variables in found.items() if variables}


def find_engine(template: Mapping[str, Any], owns: Owns, syntax: FlagSyntax) -> EngineContainer:
    """Find the one container of `template` (a pod template: `spec.containers`) that runs the engine.

    `owns` decides on image and command + args; where several are the engine's, the one with a GPU limit is taken.
    Raises UnsupportedShape (a Refused) where there is none or are several, or where its flags can't be edited.
    """
    return read_container(pick_container(template, owns, syntax), syntax)


def pick_container(template: Mapping[str, Any], owns: Owns, syntax: FlagSyntax) -> Mapping[str, Any]:
    """The engine's container as the template has it, also where its flags can't be edited; raises as `find_engine`."""
    containers = _containers(template)
    found = [container for container in containers if _owned(container, owns)]
    if len(found) > 1:
        found = [container for container in found if accelerators(container)] or found
    if not found:
        found = [container for container in containers if accelerators(container) and _speaks(container, syntax)]
    if len(found) == 1:
        return found[0]
    raise UnsupportedShape(_several(found) if found else _none(containers, syntax))


def read_container(container: Mapping[str, Any], syntax: FlagSyntax) -> EngineContainer:
    """Read one container. Raises UnsupportedShape where its flags can't be edited."""
    problem = unsupported(container, syntax)
    if problem is not None:
        raise UnsupportedShape(problem)
    argv = command_line(container)
    return EngineContainer(
        name=str(container.get("name") or ""),
        image=str(container.get("image") or ""),
        field=flag_field(container),
        argv=tuple(argv),
        uses=parse(argv, syntax, launch(argv).start),
        accelerators=accelerators(container),
        ports=tuple(number for port in container.get("ports") or [] if (number := port.get("containerPort"))),
        env_names=tuple(str(variable.get("name", "")) for variable in container.get("env") or []),
    )


def flag_field(container: Mapping[str, Any]) -> str:
    """The list that the command line ends in, where new flags go."""
    return "command" if container.get("command") and not container.get("args") else "args"


def accelerators(container: Mapping[str, Any]) -> dict[str, int]:
    """The accelerators that the container asks for, by resource name: by its limits, else by its requests."""
    resources = container.get("resources") or {}
    for kind in ("limits", "requests"):
        found = {
            str(name): int(quantity)
            for name, quantity in (resources.get(kind) or {}).items()
            if (_GPU.fullmatch(str(name)) or _OTHER_ACCELERATOR.fullmatch(str(name))) and str(quantity).isdigit()
        }
        if any(found.values()):
            return found
    return {}


def _containers(template: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    problem = misbuilt(template, TEMPLATE)
    if problem is not None:
        raise UnsupportedShape(problem)
    spec = template.get("spec")
    containers = spec.get("containers") if isinstance(spec, Mapping) else None
    if not containers:
        raise UnsupportedShape(Unsupported(Shape.MALFORMED, "the pod template has no list of containers"))
    return list(containers)


def _owned(container: Mapping[str, Any], owns: Owns) -> bool:
    image = str(container.get("image") or "")
    if malformed(container) is not None:
        return owns(image, [])
    argv = command_line(container)
    inline = launch(argv).inline
    return owns(image, argv) or (inline is not None and owns(image, inline.split()))


def _speaks(container: Mapping[str, Any], syntax: FlagSyntax) -> bool:
    """Whether a container of unknown image takes the engine's flags after its own entrypoint: nearly all are known.

    Older and newer versions have flags that the syntax does not know, and all engines share a few names.
    """
    if container.get("command") or malformed(container) is not None:
        return False
    uses = parse(command_line(container), syntax)
    return sum(use.flag is not None for use in uses) >= max(4, 0.75 * len(uses))


def _several(containers: Sequence[Mapping[str, Any]]) -> Unsupported:
    names = ", ".join(str(container.get("name")) for container in containers)
    return Unsupported(Shape.SEVERAL_ENGINES, f"several containers run the engine: {names}")


def _none(containers: Sequence[Mapping[str, Any]], syntax: FlagSyntax) -> Unsupported:
    """Why no engine was found: the shape of the one container that could have been it, where there is one."""
    likely = [container for container in containers if accelerators(container)]
    if not likely and len(containers) == 1:
        likely = list(containers)
    problems = [unsupported(container, syntax) for container in likely]
    named = [problem for problem in problems if problem is not None]
    if named:
        return named[0]
    if all("image" not in container for container in containers):
        return Unsupported(Shape.PATCH_FRAGMENT, "no container has an image: this is a patch, not a whole manifest")
    names = ", ".join(str(container.get("name")) for container in containers)
    return Unsupported(Shape.NO_ENGINE, f"no container looks like the engine's (found: {names})")
