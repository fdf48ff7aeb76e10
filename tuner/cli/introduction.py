"""What is said, and asked, before a study begins."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from tuner.cli.output import print_facts, say
from tuner.cli.question import ask
from tuner.core.target import TargetInfo
from tuner.search import Space
from tuner.study import units
from tuner.study.session import Preview
from tuner.study.spec import StudySpec


def introduce(spec: StudySpec, preview: Preview) -> None:
    """Say what was found, what will be searched, and what was assumed."""
    info = preview.info
    engine = f"{info.engine} {info.version or ''}".strip()
    facts = {
        "target": f"{info.name}: {engine}, {info.model or 'an unnamed model'} on {_hardware(info)}",
        "baseline": units.changed(info.baseline) if info.baseline else "engine defaults",
        "SLOs": ", ".join(map(str, preview.aim.slos)) or "none",
        "knobs": ", ".join(knob.name for knob in preview.space.knobs) or "none",
        "fixed": units.changed(preview.space.fixed) if preview.space.fixed else "",
    }
    print_facts({name: value for name, value in facts.items() if value})
    for reason, knobs in _left_out(preview.space):
        say(f"not searched: {', '.join(knobs)}: {reason}", style="dim")
    for assumed in spec.assumed:
        say(f"assumed: {assumed}")
    for note in (*spec.warnings, *preview.scarce, *preview.space.notes, *info.notes):
        say(f"note: {note}", style="yellow")
    if preview.resumes is not None:
        say(f"going on with study {preview.resumes.name}; --new begins another one")
    if preview.differs:
        say(f"a new study begins: {preview.differs}")
    print()


def _left_out(space: Space) -> list[tuple[str, list[str]]]:
    """Knobs that are not searched, by the reason."""
    knobs: dict[str, list[str]] = {}
    for left in space.left_out:
        knobs.setdefault(left.reason, []).append(left.knob)
    return list(knobs.items())


def agree(spec: StudySpec, preview: Preview) -> None:
    """Ask before a live target is changed. Raises InvalidInput where nobody can answer, TunerError after a no.

    What is said belongs to the question: like it, it is no output.
    """
    starts, name = preview.budget.starts, preview.info.name
    longest = timedelta(seconds=starts * (spec.rollout_deadline_s + spec.budget.probe))
    latest = preview.budget.until or datetime.now(UTC) + longest
    takes = f"about {units.roughly(preview.expected_s)}; at the latest over by {latest.astimezone():%Y-%m-%d %H:%M}"
    for line in (
        f"{name} will be restarted up to {starts} times with other settings and loaded with test traffic.",
        "While an engine starts it serves nobody, and while it is under test its users would wait.",
        f"Expected: {takes}.",
        "Then, or when you press Ctrl-C, everything is put back as it is now.",
    ):
        print(line, file=sys.stderr)
    ask("Begin?")


def _hardware(info: TargetInfo) -> str:
    if info.gpu is not None:
        return f"{info.gpu_count} x {info.gpu.name}"
    return "CPU" if info.on_cpu else "a GPU that is not known"
