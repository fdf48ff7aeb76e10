"""What the stand-in is told beside vLLM's own flags: by --sim-NAME, or by TUNER_SIM_NAME in the environment.

A Deployment's flags are vLLM's own, so there the environment is used; a flag wins over it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.core.errors import InvalidInput
from tuner.core.hardware import Gpu
from tuner.simulator.catalogue import find_gpu

_PREFIX = "TUNER_SIM_"

#: What can be made to fail, and what each does.
FAILURES = {
    "": "nothing",
    "oom-at-start": "no memory while CUDA graphs are captured",
    "crash-at-start": "the engine ends with an error while it starts",
    "never-ready": "loading never ends",
    "oom-under-load": "no memory once `fail-at` requests run",
    "crash-under-load": "the engine is gone once `fail-at` requests run",
    "hang-under-load": "no more tokens once `fail-at` requests run",
}


@dataclass(frozen=True)
class SimOptions:
    """How the simulated machine is made.

    `model` names the shape where vLLM's own model argument does not; `speed` divides all times; `start_s` is the wall
    time from launch to ready (None: what this model would take, divided by `speed`); `step_s` that of every step of the
    engine (None: what it would take). `seed` draws the hidden truth of the machine, `start` the noise of this start
    (None: drawn anew at each). `stamps` puts the server's own times into streamed events.
    """

    gpu: Gpu
    gpu_count: int = 1
    model: str | None = None
    seed: int = 0
    start: int | None = None
    speed: float = 1.0
    start_s: float | None = None
    step_s: float | None = None
    stamps: bool = False
    fail: str = ""
    fail_at: int = 4


def split_options(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[SimOptions, list[str]]:
    """The stand-in's own options, and the rest of the command line, which is vLLM's. Raises InvalidInput."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name, (metavar, _) in _HELP.items():
        default = environ.get(_PREFIX + name.upper().replace("-", "_"))
        if metavar:
            parser.add_argument(f"--sim-{name}", default=default)
        else:
            parser.add_argument(f"--sim-{name}", default=default, action="store_const", const=_ON)
    try:
        found, rest = parser.parse_known_args(list(argv))
    except argparse.ArgumentError as error:
        raise InvalidInput(str(error)) from error
    unknown = [item for item in rest if item.startswith("--sim-")]
    if unknown:
        allowed = ", ".join(f"--sim-{name}" for name in _HELP)
        raise InvalidInput(*(f"{item}: not an option of the stand-in; allowed: {allowed}" for item in unknown))
    return _Reader(vars(found)).options(), rest


def usage() -> str:
    """The stand-in's help: its own options, and where vLLM's are."""
    lines = [
        "Usage: tuner engine-sim [MODEL] [VLLM'S OPTIONS] [--sim-...]",
        "",
        "  Serve a simulated vLLM: OpenAI's API over HTTP with vLLM's own flags, log,",
        "  metrics and failures at start. For example:",
        "",
        "  tuner engine-sim meta-llama/Llama-3.1-8B-Instruct --port 8000 --sim-gpu L4",
        "",
        "The simulated machine (or TUNER_SIM_NAME in the environment; a flag wins):",
        *(f"  {f'--sim-{name} {metavar}':<{_COLUMN}}{text}" for name, (metavar, text) in _HELP.items()),
        "",
        "What fails (--sim-fail):",
        *(f"  {name:<{_COLUMN}}{text}" for name, text in FAILURES.items() if name),
        "",
        "vLLM's options:",
        f"  {'--help=all':<{_COLUMN}}List them all.",
    ]
    return "\n".join(lines) + "\n"


_COLUMN = 29
_HELP = {
    "gpu": ("GPU", "A GPU of the catalogue. [default: H100]"),
    "gpu-count": ("NUMBER", "How many of them. [default: 1]"),
    "model": ("MODEL", "A shape, where vLLM's model has none here."),
    "seed": ("NUMBER", "Draws the machine's hidden truth. [default: 0]"),
    "start": ("NUMBER", "Draws the noise of this start. [default: anew]"),
    "speed": ("FACTOR", "Divides all times. [default: 1, real time]"),
    "start-seconds": ("SECONDS", "From launch to ready. [default: the model's]"),
    "step-seconds": ("SECONDS", "Of every step. [default: as computed]"),
    "stamps": ("", "Put the server's times into each event."),
    "fail": ("FAILURE", "What is made to fail. [default: nothing]"),
    "fail-at": ("NUMBER", "Requests running when it fails. [default: 4]"),
}
#: What an option that takes no value is in the environment.
_ON = "1"


class _Reader:
    """Turns texts into options and collects what is wrong with them."""

    def __init__(self, texts: Mapping[str, str | None]) -> None:
        self._texts = texts
        self._problems: list[str] = []

    def options(self) -> SimOptions:
        gpu = self._gpu()
        fail = self._text("fail") or ""
        if fail not in FAILURES:
            self._problems.append(f"--sim-fail: {fail!r}; allowed: {', '.join(name for name in FAILURES if name)}")
        count, seed, fail_at = (
            self._number("gpu-count", 1, 1),
            self._number("seed", 0, 0),
            self._number("fail-at", 4, 1),
        )
        start, seconds = self._number("start", None, 0), self._number("start-seconds", None, 0)
        speed, step = self._number("speed", 1.0, 1e-3), self._number("step-seconds", None, 1e-6)
        stamps = self._switch("stamps")
        if self._problems:
            raise InvalidInput(*self._problems)
        assert gpu is not None
        assert speed is not None
        return SimOptions(
            gpu=gpu,
            gpu_count=int(count or 1),
            model=self._text("model"),
            seed=int(seed or 0),
            start=None if start is None else int(start),
            speed=speed,
            start_s=seconds,
            step_s=step,
            stamps=stamps,
            fail=fail,
            fail_at=int(fail_at or 1),
        )

    def _text(self, name: str) -> str | None:
        return self._texts["sim_" + name.replace("-", "_")] or None

    def _switch(self, name: str) -> bool:
        text = self._text(name) or "0"
        if text not in (_ON, "0"):
            self._problems.append(f"{_PREFIX}{name.upper()}: {text!r}; allowed: {_ON}, 0")
        return text == _ON

    def _gpu(self) -> Gpu | None:
        try:
            return find_gpu(self._text("gpu") or "H100")
        except InvalidInput as error:
            self._problems += [f"--sim-gpu: {problem}" for problem in error.problems]
            return None

    def _number(self, name: str, default: float | None, least: float) -> float | None:
        text = self._text(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            self._problems.append(f"--sim-{name}: {text!r}; allowed: a number of at least {least:g}")
            return default
        return value
