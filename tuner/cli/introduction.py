"""What is said, and asked, before a study begins."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import typer

from tuner.cli import units
from tuner.cli.output import console, print_facts
from tuner.core.errors import InvalidInput, TunerError
from tuner.core.target import TargetInfo
from tuner.probe import Limits
from tuner.study.session import Preview
from tuner.study.spec import StudySpec


def introduce(spec: StudySpec, preview: Preview, resumes: str | None) -> None:
    """Say what was found, what will be searched, and what was assumed."""
    info = preview.info
    engine = f"{info.engine} {info.version or ''}".strip()
    print_facts(
        {
            "target": f"{info.name}: {engine}, {info.model or 'an unnamed model'} on {_hardware(info)}",
            "baseline": str(info.baseline),
            "promise": ", ".join(map(str, preview.aim.slos)) or "none",
            "knobs": ", ".join(knob.name for knob in preview.space.knobs) or "none",
        }
    )
    for left in preview.space.left_out:
        console.print(f"not searched: {left.knob}: {left.reason}", style="dim", highlight=False)
    for assumed in spec.assumed:
        console.print(f"assumed: {assumed}", highlight=False)
    for note in (*spec.warnings, *info.notes):
        console.print(f"note: {note}", style="yellow", highlight=False)
    if resumes is not None:
        console.print(f"going on with study {resumes}", highlight=False)
    console.print()


def ask(spec: StudySpec, preview: Preview) -> None:
    """Ask before a live target is changed. Raises InvalidInput where nobody can answer, TunerError after a no."""
    starts, name = preview.budget.starts, preview.info.name
    longest = timedelta(seconds=starts * (spec.rollout_deadline_s + Limits().total_s))
    latest = preview.budget.until or datetime.now(UTC) + longest
    takes = f"about {units.duration(preview.expected_s)}; at the latest over by {latest.astimezone():%Y-%m-%d %H:%M}"
    console.print(
        f"{name} will be restarted up to {starts} times with other settings and loaded with test traffic.\n"
        "While an engine starts it serves nobody, and while it is under test its users would wait.\n"
        f"Expected: {takes}.\n"
        "Then, or when you press Ctrl-C, everything is put back as it is now.",
        highlight=False,
    )
    if not os.isatty(0):
        raise InvalidInput("nobody is here to answer; --yes says that this is what you want")
    if not typer.confirm("Begin?"):
        raise TunerError("nothing was changed")


def _hardware(info: TargetInfo) -> str:
    if info.gpu is not None:
        return f"{info.gpu_count} x {info.gpu.name}"
    return "CPU" if info.on_cpu else "a GPU that is not known"
