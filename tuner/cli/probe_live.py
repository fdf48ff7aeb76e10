"""The live view of a running probe: a table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from tuner.cli.panel import LivePanel
from tuner.core.slo import Metric
from tuner.probe.run import Began, Held, ProbeRun
from tuner.probe.verdict.statistics import latencies
from tuner.probe.watch import Running
from tuner.study import units
from tuner.study.probe_report import failures, void
from tuner.study.probing import Probing

_COLUMNS = ("LOAD", "ENDED", "REQ/S", "TOK/S", "TTFT P50", "P95", "TPOT P50", "FAILED", "")
_LAST = 12  # levels that are shown; a search may have more


class ProbeView(LivePanel):
    """An observer of one run. Use as a context manager, tell it the run with `watch`, call it with each event.

    A terminal that hung up, or a pipe that nobody reads, stops no measurement.
    """

    def __init__(self, console: Console, asked: Probing, model: str, *, quiet: bool = False) -> None:
        super().__init__(console, quiet=quiet)
        self._asked = asked
        self._model = model
        self._run: ProbeRun | None = None

    def __enter__(self) -> Self:
        with suppress(OSError):
            for line in self._introduction():
                self._say(line)
        return super().__enter__()

    def watch(self, run: ProbeRun) -> None:
        """Show this run."""
        self._run = run

    def __call__(self, event: Began | Held) -> None:
        """Take one event. In a terminal the table has it all."""
        if self._console.is_terminal:
            return
        with suppress(OSError):
            if isinstance(event, Began):
                self._say(f"{event.load}: up to {event.requests} requests")
            else:
                self._say(f"{units.level(event.level)}{', cut off' if event.partial else ''}")

    def _introduction(self) -> Iterator[str]:
        asked = self._asked
        yield f"measuring {self._model} at {asked.endpoint}"
        for assumed in asked.assumed:
            yield f"assumed: {assumed}"
        if not self._console.is_terminal:
            yield "warming up"

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=not self._console.is_terminal)

    def _panel(self) -> RenderableType:
        run = self._run
        columns = (Column(name, no_wrap=True) for name in _COLUMNS)
        table = Table(*columns, box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for held in run.held[-_LAST:] if run else ():
            table.add_row(*_ended(held))
        running = run.running if run else None
        now = time.monotonic()
        if running is not None:
            table.add_row(*_so_far(running), style="bold")
        doing = f"{units.duration(now - running.began_s)} in this level" if running else "warming up"
        if run is not None and run.warm and running is None:
            doing = "between levels"
        facts = Text(f"{units.duration(now - self._began)}, {doing}", style="dim")
        return Panel(Group(facts, table), title=Text(f"probing {self._model}"))


def _ended(held: Held) -> tuple[str | Text, ...]:
    level = held.level
    ttft, tpot = level.statistics.get("ttft"), level.statistics.get("tpot")
    return (
        str(level.load),
        str(held.recorded),
        units.number(level.request_rate),
        units.number(level.output_token_rate),
        units.seconds(ttft.p50) if ttft else "",
        units.seconds(ttft.p95) if ttft else "",
        units.seconds(tpot.p50) if tpot else "",
        str(sum(failures(level).values())),
        answer_text(held),
    )


def _so_far(running: Running) -> tuple[str, ...]:
    """A level that runs; its requests' first tokens and paces are quickly counted, each gap between tokens is not."""
    records = running.records
    ended_s = max((record.end_s for record in records), default=0.0)
    ok = [record for record in records if record.ok]
    rates = (len(ok) / ended_s, sum(record.output_tokens for record in ok) / ended_s) if ended_s > 0 else (0.0, 0.0)
    ttft, tpot = (latencies(metric, ok) for metric in (Metric.TTFT, Metric.TPOT))
    return (
        str(running.plan.load),
        f"{len(records)}/{len(running.plan.requests)}",
        *(units.number(rate) for rate in rates),
        *(units.seconds(float(np.quantile(ttft, share))) if len(ttft) else "" for share in (0.5, 0.95)),
        units.seconds(float(np.median(tpot))) if len(tpot) else "",
        str(len(records) - len(ok)),
        "",
    )


_STYLES = {"pass": "green", "fail": "red", "uncertain": "yellow"}


def answer_text(held: Held) -> Text:
    """What a level showed, in a word; nothing where nothing was promised."""
    if (why := void(held.level)) is not None:
        return Text(f"void: {why}", style="red")
    if held.partial:
        return Text("cut off", style="yellow")
    if not held.level.tests:
        return Text("" if held.level.steady else "not steady", style="yellow")
    return Text(held.level.answer.value, style=_STYLES[held.level.answer.value])
