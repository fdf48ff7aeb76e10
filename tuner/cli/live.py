"""The live view of a running study: a panel in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from tuner.cli.panel import LivePanel
from tuner.core.cause import Failure
from tuner.core.measurement import Verdict
from tuner.core.workload import Objective
from tuner.store import TrialKind
from tuner.study import units
from tuner.study.judge import LEAST_VIOLATION, WORST_VIOLATION
from tuner.study.progress import Event, LevelEnded, Note, PhaseBegan, TrialBegan, TrialEnded

Line = tuple[str, Text]  # who is spoken of, and what is said


class LiveView(LivePanel):
    """An observer of a study. Use as a context manager; call it with each event.

    A terminal that hung up, or a pipe that nobody reads, stops no study: what can't be said there is not said.
    """

    def __init__(self, console: Console, objective: Objective, title: str, *, quiet: bool = False) -> None:
        super().__init__(console, quiet=quiet)
        self._objective = objective
        self._title = title
        self._trial: TrialBegan | None = None
        self._phase: tuple[str, str, float] = ("", "", self._began)
        self._last: TrialEnded | None = None
        self._levels: deque[str] = deque(maxlen=6)

    def __call__(self, event: Event) -> None:
        """Take one event: keep what the panel shows, and print the lines that stay."""
        match event:
            case TrialBegan():
                self._trial = event
                self._levels.clear()
            case PhaseBegan():
                self._phase = (event.phase, event.detail, time.monotonic())
            case LevelEnded():
                self._levels.append(units.level(event.level))
                self._phase = ("probing", "", self._phase[2])
            case TrialEnded():
                self._last = event
            case Note():
                pass
        with suppress(OSError):
            for line in self._lines(event):
                self._print(line)

    def _lines(self, event: Event) -> list[Line]:
        """What stays on the screen of an event. In a terminal the panel shows what goes on meanwhile."""
        plain = not self._console.is_terminal
        match event:
            case Note():
                return [("", Text(event.text))]
            case TrialEnded():
                return [(f"trial {event.number:>3}  {event.kind:<8}  ", self._ended(event))]
            case TrialBegan() if plain:
                what = f"{units.changed(event.changed)}  [{event.reason}]"
                return [(f"trial {event.number:>3}  {event.kind:<8}  ", Text(what))]
            case PhaseBegan() if plain and (event.detail or event.phase == "warming-up"):
                return [(f"trial {event.number:>3}    ", Text(event.detail or event.phase))]
            case LevelEnded() if plain:
                return [(f"trial {event.number:>3}    ", Text(units.level(event.level)))]
        return []

    def _print(self, line: Line) -> None:
        """Print a line; in a terminal what is too long goes on under where it began."""
        head, text = line
        if not (head and self._console.is_terminal):
            self._console.print(Text.assemble(head, text), soft_wrap=not self._console.is_terminal)
            return
        grid = Table.grid(Column(no_wrap=True), Column(overflow="fold"))
        grid.add_row(head, text)
        self._console.print(grid)

    def _ended(self, event: TrialEnded) -> Text:
        line = Text()
        line.append(failure_text(event.failure, event.screened) or verdict_text(event.verdict, self._objective))
        if event.verdict is not None and event.verdict.feasible and event.kind == TrialKind.SEARCH:
            line.append(f"  {units.gain(event.verdict.value, event.baseline, self._objective)}", style="bold")
        line.append(f"  {units.changed(event.changed)}", style="dim")
        return line

    def _panel(self) -> RenderableType:
        now = time.monotonic()
        facts = Table.grid(Column(no_wrap=True, style="bold"), Column(overflow="fold"), padding=(0, 2))
        for name, value in self._facts(now):
            facts.add_row(name, Text(value))
        levels = (Text(line, style="dim", overflow="ellipsis", no_wrap=True) for line in self._levels)
        return Panel(Group(facts, *levels), title=Text(self._title))

    def _facts(self, now: float) -> Iterator[tuple[str, str]]:
        yield "elapsed", units.duration(now - self._began)
        if self._trial is not None:
            phase, detail, since = self._phase
            doing = f"{phase}: {detail}" if detail and detail != phase else phase
            yield "trial", f"{self._trial.number}, {self._trial.kind}: {self._trial.reason}"
            yield "changed", units.changed(self._trial.changed)
            yield "phase", f"{doing} ({units.duration(now - since)})"
        if self._last is not None:
            last = self._last
            minutes = "" if last.gpu_minutes_left is None else f", {last.gpu_minutes_left:.1f} GPU-minutes"
            yield "left", f"{last.starts_left} starts{minutes}"
            yield "baseline", units.objective_value(last.baseline, self._objective)
            gain = units.gain(last.incumbent, last.baseline, self._objective)
            yield "best so far", f"{units.objective_value(last.incumbent, self._objective)}  {gain}"


def failure_text(failure: Failure | None, screened: bool) -> Text | None:
    """A failure in a few words: what the planner expects of a screened candidate, or the cause."""
    if failure is None:
        return None
    return Text(f"screened: {failure.message}", style="dim") if screened else Text(str(failure), style="red")


def verdict_text(verdict: Verdict | None, objective: Objective) -> Text:
    """A verdict in a few words: its value, or what it broke."""
    if verdict is None:
        return Text("not finished", style="yellow")
    if verdict.feasible:
        return Text(units.objective_value(verdict.value, objective), style="green")
    missed = [_missed(slo, over) for slo, over in verdict.violations.items() if over > 0]
    return Text(f"misses {', '.join(missed)}" if missed else "no level passed", style="yellow")


def _missed(slo: str, over: float) -> str:
    promised = slo.partition(" <=")[0]
    if over < 2 * LEAST_VIOLATION:
        return f"{promised} (not certain)"
    return f"{promised} by {'over ' if over >= WORST_VIOLATION else ''}{over:.0%}"
