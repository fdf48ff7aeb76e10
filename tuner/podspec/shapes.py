"""The shapes of pod templates whose flags can't be edited safely: each has a name, a reason and a way round."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tuner.core.errors import Refused
from tuner.core.flags import FlagSyntax
from tuner.podspec.flags import grammar, parse
from tuner.podspec.launch import Launch, basename, command_line, launch


class Shape(StrEnum):
    """Names of what is refused, as `tuner doctor` prints them."""

    SHELL_STRING = "shell-string"
    ENV_FLAGS = "env-flags"
    WRAPPER_SCRIPT = "wrapper-script"
    CONFIG_FILE = "config-file"
    HELM_TEMPLATE = "helm-template"
    HELM_VALUES = "helm-values"
    PATCH_FRAGMENT = "patch-fragment"
    CUSTOM_RESOURCE = "custom-resource"
    OTHER_WORKLOAD = "other-workload"
    RAY = "ray"
    MERGE_CONFLICT = "merge-conflict"
    MALFORMED = "malformed"
    TYPO = "typo"
    NO_ENGINE = "no-engine"
    SEVERAL_ENGINES = "several-engines"


INSTEAD: Mapping[Shape, str] = {
    Shape.SHELL_STRING: "write the engine's flags as list items in command or args instead of one shell string, or "
    "tune a copy written that way and carry the exported flags over by hand",
    Shape.ENV_FLAGS: "write the flags as list items in args, or put the exported flags into the variable by hand",
    Shape.WRAPPER_SCRIPT: "start the engine directly (command and args), or put the exported flags where the script "
    "reads them, by hand",
    Shape.CONFIG_FILE: "move the settings from the file into args, or put the exported flags into the file by hand",
    Shape.HELM_TEMPLATE: "run it on the rendered output (helm template, or helm get manifest RELEASE), or on the live "
    "Deployment with -n NAMESPACE",
    Shape.HELM_VALUES: "run it on the rendered output (helm template -f FILE CHART), or on the live Deployment with "
    "-n NAMESPACE",
    Shape.PATCH_FRAGMENT: "run it on the whole manifest (kubectl kustomize DIR), or on the live Deployment with "
    "-n NAMESPACE",
    Shape.CUSTOM_RESOURCE: "its controller writes the pods and would undo a change below it: put the exported flags "
    "into the custom resource by hand",
    Shape.OTHER_WORKLOAD: "only Deployments can be tuned live: tune a Deployment with the same container, and carry "
    "the exported flags over by hand",
    Shape.RAY: "Ray starts the engine's processes: put the exported flags into the Ray application by hand",
    Shape.MERGE_CONFLICT: "resolve the conflict and run it again",
    Shape.MALFORMED: "correct the file and run it again",
    Shape.TYPO: "correct it and run it again: the engine does not start, or ignores it, as it is written",
    Shape.NO_ENGINE: "name the container or the engine, or start the engine directly (command and args)",
    Shape.SEVERAL_ENGINES: "name the container to tune",
}


@dataclass(frozen=True)
class Unsupported:
    """One reason why the flags can't be edited here. `reason` quotes no value of an environment variable."""

    shape: Shape
    reason: str

    @property
    def instead(self) -> str:
        """What to do."""
        return INSTEAD[self.shape]


class UnsupportedShape(Refused):
    """Raised instead of editing; the message names the shape, the reason and the way round."""

    def __init__(self, unsupported: Unsupported) -> None:
        self.unsupported = unsupported
        super().__init__(f"{unsupported.reason} [{unsupported.shape}]; {unsupported.instead}")


# Where an engine's settings come from a file of its own, by the flag that names the file.
_CONFIG_FLAGS = frozenset({"config", "extra-llm-api-options", "config-file", "model-repository"})
_FLAG_VARIABLE = re.compile(r"(^|_)(ARGS|FLAGS|OPTS|OPTIONS|ARGUMENTS)$")
_FLAG_TEXT = re.compile(r"(^|\s)--[a-z][\w-]+([= ]|$)")
_CONTAINER_KEYS = frozenset(
    [
        "name",
        "image",
        "command",
        "args",
        "env",
        "envFrom",
        "ports",
        "resources",
        "resizePolicy",
        "restartPolicy",
        "restartPolicyRules",
        "volumeMounts",
        "volumeDevices",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "imagePullPolicy",
        "securityContext",
        "stdin",
        "stdinOnce",
        "tty",
        "workingDir",
    ]
)


def malformed(container: Mapping[str, Any]) -> Unsupported | None:
    """A container that the API server would refuse, or whose keys are misspelt so that the engine gets no flags."""
    name = container.get("name", "(unnamed)")
    unknown = [str(key) for key in container if key not in _CONTAINER_KEYS]
    if unknown:
        near = [key for key in ("args", "command") if any(_near(other, key) for other in unknown)]
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return Unsupported(Shape.TYPO, f"container {name!r} has an unknown field {unknown[0]!r}{hint}")
    for field in ("command", "args"):
        items = container.get(field)
        if items is None:
            continue
        if not isinstance(items, Sequence) or isinstance(items, str):
            return Unsupported(Shape.MALFORMED, f"{field} of container {name!r} is not a list")
        for position, item in enumerate(items):
            if not isinstance(item, str):
                kind = repr(item) if isinstance(item, (bool, int, float)) else f"a {type(item).__name__}"
                text = f"{field}[{position}] of container {name!r} is {kind}, not a string: quote it"
                return Unsupported(Shape.MALFORMED, text)
    return None


def unsupported(container: Mapping[str, Any], syntax: FlagSyntax) -> Unsupported | None:
    """Why this container's flags can't be edited, or None where they can."""
    problem = malformed(container)
    if problem is not None:
        return problem
    argv = command_line(container)
    started = launch(argv)
    name = container.get("name", "(unnamed)")
    checks = (_shell(argv, started, name), _wrapper(container, started, name), _config(argv, started, syntax, name))
    # Without a command the first item is the image's own program's argument: it may be mistyped too.
    first = started.start if container.get("command") else 0
    return next((found for found in checks if found is not None), typo(argv, first, syntax, name))


def _shell(argv: Sequence[str], started: Launch, name: str) -> Unsupported | None:
    if started.inline is None:
        # The script may be several items deep (an image whose entrypoint is a shell): it has spaces and a flag in it.
        for item in argv:
            if "\n" in item and _FLAG_TEXT.search(item):
                return Unsupported(Shape.SHELL_STRING, f"container {name!r} has its flags inside a multi-line script")
        return None
    text = started.inline
    if re.search(r"\bray\s+(start|job|up)\b", text):
        return Unsupported(Shape.RAY, f"container {name!r} starts the engine through Ray in a shell script")
    detail = next((words for words, pattern in _SCRIPTING if re.search(pattern, text)), "")
    reason = f"container {name!r} starts its engine from a shell string ({started.program} -c{detail})"
    return Unsupported(Shape.SHELL_STRING, reason)


_SCRIPTING = (
    (", which writes a configuration file", r"<<-?\s*['\"]?\w+|\bsed\s+-i"),
    (", re-parsed by eval", r"\beval\b"),
    (', with "$@"', r"\$@"),
)


def _wrapper(container: Mapping[str, Any], started: Launch, name: str) -> Unsupported | None:
    if started.program == "ray":
        return Unsupported(Shape.RAY, f"container {name!r} runs ray")
    script = started.script or (started.program if _is_script(started.program) else "")
    variables = _flag_variables(container)
    if variables and (script or not container.get("command")):
        text = f"container {name!r} has engine flags in the environment variable {', '.join(variables)}"
        return Unsupported(Shape.ENV_FLAGS, text)
    if script:
        return Unsupported(
            Shape.WRAPPER_SCRIPT, f"container {name!r} starts the script {basename(script)}, which starts the engine"
        )
    return None


def _is_script(program: str) -> bool:
    return program.endswith((".sh", ".bash", ".py")) or "entrypoint" in program


def _flag_variables(container: Mapping[str, Any]) -> list[str]:
    """Names of variables that hold flags: by name, and by a literal value that looks like flags. Never values."""
    names = []
    for variable in container.get("env") or []:
        name, value = str(variable.get("name", "")), variable.get("value")
        named = _FLAG_VARIABLE.search(name) is not None and not name.startswith(("JAVA", "NCCL", "XLA", "LIBTPU"))
        if named and (not isinstance(value, str) or _FLAG_TEXT.search(value)):
            names.append(name)
    return names


def _config(argv: Sequence[str], started: Launch, syntax: FlagSyntax, name: str) -> Unsupported | None:
    for use in parse(argv, syntax, started.start):
        if use.name in _CONFIG_FLAGS:
            return Unsupported(
                Shape.CONFIG_FILE, f"container {name!r} takes settings from a configuration file (--{use.name})"
            )
    return None


_DASHES = "‐‑‒–—−"


def typo(argv: Sequence[str], start: int, syntax: FlagSyntax, name: str) -> Unsupported | None:
    """An item that was meant to be a flag and is not one to the engine. Values are not quoted: they may be secret."""
    taken = {i for use in parse(argv, syntax, start) for i in range(use.index, use.index + use.span)}
    for index in range(start, len(argv)):
        if index in taken or argv[index] == "--":
            continue
        problem = _mistyped(argv[index], syntax)
        if problem is not None:
            return Unsupported(Shape.TYPO, f"container {name!r}: {problem}")
    return None


def _mistyped(item: str, syntax: FlagSyntax) -> str | None:
    if item[:1] and item[0] in _DASHES:
        return f"an item begins with {item[0]!r}, which is not the hyphen '-'"
    body = item.lstrip("-")
    match = re.match(r"\s*([\w.-]+)", body)
    if match is None:
        return None
    word, rest = match[1], body[match.end() :]
    if item.startswith("-"):
        return _mistyped_option(body, word, rest)
    # Without its dashes a flag becomes the model's name: only an exact name counts, as a path may begin like a flag.
    table = grammar(syntax)
    if rest.startswith("=") and table.normalise(word) in table.long:
        return f"'{word}=...' has no dashes; write --{word}=..."
    if re.search(r"\s--[a-z][\w-]*", item):
        return "a whole command line is one item; write each flag as an item of its own"
    return None


def _mistyped_option(body: str, word: str, rest: str) -> str | None:
    if body[:1].isspace():
        return f"'-- {word}' has a space after its dashes; write --{word}"
    if rest[:1].isspace():
        return f"'--{word}' and its value are one item; write --{word}=VALUE, or two items"
    return None


def _near(word: str, wanted: str) -> bool:
    letters = re.sub(r"[^a-z]", "", word.lower())
    return letters in (wanted, wanted + "s", wanted[:-1], "arguments" if wanted == "args" else "cmd")
