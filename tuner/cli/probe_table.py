"""What a run of the probe came to, printed for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from tuner.cli.output import print_facts, print_table, say
from tuner.cli.probe_live import answer_text
from tuner.core.measurement import Answer, Level, SloTest, Window
from tuner.core.request import UNFINISHED
from tuner.core.workload import Workload
from tuner.probe.run import Held
from tuner.study import units
from tuner.study.probe_report import Capacity, ProbeResult, failures, margin, void

_DASH = "—"
# A search keeps some of its time for a proof: when it has used so much, more would have let it go on.
_MUCH = 0.5


def print_result(result: ProbeResult, *, wide: bool) -> None:
    """Print every level on a line, those that were asked for (with `wide`: all) whole, and the answer."""
    print()
    if not result.held:
        say("nothing was measured", style="yellow")
        return
    if len(result.held) > 1:
        print_table(*_overview(result, wide))
        print()
    for held in _shown(result, wide):
        _print_level(held)
        print()
    print_facts(dict(facts(result)))


def _shown(result: ProbeResult, wide: bool) -> tuple[Held, ...]:
    """The levels that are printed whole: of a search only the one that speaks for it."""
    if wide or result.asked.loads:
        return result.held
    return () if result.deciding is None else (result.deciding,)


def _overview(result: ProbeResult, wide: bool) -> tuple[list[str], list[list[str | Text]]]:
    """Columns and rows of the levels; a terminal of 80 columns has room for those that are not `wide`."""
    rows = [_row(held) for held in result.held]
    columns = [name for name in rows[0] if wide or name not in _WIDE]
    return columns, [[row[name] for name in columns] for row in rows]


_WIDE = ("goodput", "TTFT p99", "ITL p50")


def _row(held: Held) -> dict[str, str | Text]:
    """One level on a line, by column."""
    level = held.level
    return {
        "load": str(level.load),
        "req/s": units.number(level.request_rate),
        "tok/s": units.number(level.output_token_rate),
        "goodput": _DASH if level.goodput is None else units.number(level.goodput.request_rate),
        "TTFT p50": _latency(level, "ttft", "p50"),
        "TTFT p95": _latency(level, "ttft", "p95"),
        "TTFT p99": _latency(level, "ttft", "p99"),
        "ITL p50": _latency(level, "itl", "p50"),
        "ITL p99": _latency(level, "itl", "p99"),
        "failed": str(sum(failures(level).values())),
        "answer": answer_text(held),
    }


def _latency(level: Level, metric: str, which: str) -> str:
    one = level.statistics.get(metric)
    return _DASH if one is None else units.seconds(getattr(one, which))


def _print_level(held: Held) -> None:
    level = held.level
    print_facts(dict(level_facts(held)))
    if level.statistics:
        print_table(("latency", *STATISTICS), list(latency_rows(level)))
    if level.tests:
        print_table(SLO_COLUMNS, list(slo_rows(level)))


STATISTICS = ("mean", "p50", "p90", "p95", "p99", "max")


def latency_rows(level: Level) -> Iterator[list[str]]:
    """Each latency's statistics."""
    for name, heading in units.METRICS.items():
        one = level.statistics.get(name)
        if one is not None:
            yield [heading, *(units.seconds(getattr(one, which)) for which in STATISTICS)]


SLO_COLUMNS = ("SLO", "verdict", "observed", "95% interval", "margin", "over the bound")


def slo_rows(level: Level) -> Iterator[list[str]]:
    """Each SLO's test."""
    for test in level.tests:
        share = test.slo.startswith("error rate")
        yield [
            test.slo,
            test.answer.value,
            _value(test.observed, share),
            _interval(test, share),
            units.room(margin(test)),
            _over(test),
        ]


def level_facts(held: Held) -> Iterator[tuple[str, str]]:
    """What a level was, and what counts of it."""
    level = held.level
    state = "cut off" if held.partial else f"void: {why}" if (why := void(level)) else ""
    yield "load", f"{level.load} for {units.duration(level.duration_s)}" + (f" ({state})" if state else "")
    yield "requests", f"{level.requests} measured{_excluded(held, level.window)}"
    if level.load.rate is not None and not held.partial:
        yield "lateness", f"99 of 100 were sent at most {units.seconds(level.lag_p99_s)} after they were due"
    rates = f"{units.number(level.request_rate)} req/s, {units.number(level.output_token_rate)} output tok/s"
    yield "served", f"{rates}, {units.number(level.total_token_rate)} total tok/s"
    if level.goodput is not None:
        share = level.goodput.request_rate / level.request_rate if level.request_rate else 0.0
        yield "goodput", f"{units.number(level.goodput.request_rate)} req/s kept every SLO ({share:.1%})"
    if errors := failures(level):
        yield "errors", ", ".join(f"{count} {kind}" for kind, count in errors.items())
    if running := level.errors.get(UNFINISHED):
        yield "unfinished", f"{running} were still running at the end"
    if not level.steady:
        behind = f"; it was offered at least {level.overload:.0%} more than it served" if level.overload else ""
        yield "not steady", f"what waits in the engine had not settled{behind}"
    if (shown := _server(level)) != "":
        yield "server", shown


def _excluded(held: Held, window: Window | None) -> str:
    """What was left out, and by which rule."""
    if window is None:
        return ""
    parts = []
    if window.warmup_requests:
        rule = "until the engine was full" if window.rule == "until full" else "as planned"
        parts.append(f"the first {window.warmup_requests} ({window.measured_from_s:.1f} s) are warm-up, {rule}")
    if window.late_requests:
        parts.append(f"the last {window.late_requests} were due too shortly before its end")
    if window.cooldown_ended and parts:
        parts.append(f"rates also without {window.cooldown_ended} that ended after the last was sent")
    return f" of {held.recorded}: {'; '.join(parts)}" if parts else ""


def _server(level: Level) -> str:
    """What the engine said of itself."""
    view = level.server
    if view is None:
        return ""
    parts = [f"{level.preemptions} preemptions"] if level.preemptions is not None else []
    for name, words in (("running", "running"), ("waiting", "waiting")):
        gauge = view.gauges.get(name)
        if gauge is not None and gauge.max is not None:
            parts.append(f"at most {gauge.max:.0f} {words}")
    kv = view.gauges.get("kv_usage")
    if kv is not None and kv.max is not None:
        parts.append(f"KV cache up to {kv.max:.0%}")
    if view.prefix_hit_share is not None:
        parts.append(f"prefix hits {view.prefix_hit_share:.0%}")
    if view.acceptance is not None:
        parts.append(f"acceptance {view.acceptance:.0%}")
    return ", ".join(parts)


_VERDICTS = {
    Answer.PASS: ("every SLO holds", "green"),
    Answer.FAIL: ("an SLO fails", "red"),
    Answer.UNCERTAIN: ("neither shown to hold nor to fail", "yellow"),
}


def facts(result: ProbeResult) -> Iterator[tuple[str, str | Text]]:
    """The answer, what was sent for it, and what it cost."""
    if result.capacity is not None:
        yield "capacity", capacity_text(result, result.capacity)
    if result.verdict is not None and (result.capacity is None or result.verdict is not Answer.PASS):
        words, style = _VERDICTS[result.verdict]
        yield "verdict", Text(words, style=style)
    if result.asked.extent is not None and result.asked.extent.stages is not None:
        yield "stages", str(result.asked.extent.stages)
    yield "sent", f"{workload_text(result.asked.workload)}; seed {result.asked.seed}"
    yield "took", f"{units.duration(result.wall_s)}, {units.duration(result.probe_s)} of them under measured load"


def workload_text(workload: Workload) -> str:
    """What was sent, in a few words; `-o json` has all of it."""
    if workload.trace is not None:
        return f"the requests of {workload.trace}"
    if workload.prompts_file is not None:
        return f"the prompts of {workload.prompts_file}, answers of {workload.output.mean} tokens"
    spread = " on average" if workload.pairs or workload.prompt.cv or workload.output.cv else ""
    prefix = f" after a shared prefix of {workload.shared_prefix}" if workload.shared_prefix else ""
    what = f"conversations of {workload.turns} turns, messages" if workload.turns > 1 else "prompts"
    return f"{what} of {workload.prompt.mean} tokens{prefix}, answers of {workload.output.mean}{spread}"


def capacity_text(result: ProbeResult, found: Capacity) -> str:
    """What a search found, in a sentence."""
    if found.estimate is None:
        return f"none: no rate was shown to meet every SLO{_in_time(result)}"
    parts = [f"{units.number(found.estimate)} req/s"]
    if result.measurement is not None:
        tokens = result.measurement.level.output_token_rate / max(result.measurement.level.request_rate, 1e-9)
        parts[0] += f" ({units.number(found.estimate * tokens)} output tok/s)"
    if found.proven is not None:
        parts.append(f"{units.number(found.proven)} was shown to hold")
    if found.refuted is not None:
        parts.append(f"{units.number(found.refuted)} to fail")
    wide = found.proven and found.refuted and found.refuted / found.proven > 1 + 2 * result.asked.job.restart_cv
    return "; ".join(parts) + (_in_time(result) if wide else "")


def _in_time(result: ProbeResult) -> str:
    """Where it may be for want of time that a search found no more."""
    given_s = result.asked.limits.total_s
    return f", within --probe {units.duration(given_s)}" if result.probe_s > _MUCH * given_s else ""


def _value(value: float | None, share: bool) -> str:
    if value is None:
        return _DASH
    return f"{value:.2%}" if share else units.seconds(value)


def _interval(test: SloTest, share: bool) -> str:
    if test.observed_low is None and test.observed_high is None:
        return _DASH
    low, high = (_value(end, share) if end is not None else "?" for end in (test.observed_low, test.observed_high))
    return f"{low} to {high}"


def _over(test: SloTest) -> str:
    """How many exceeded the bound, and what share does at most (of a mean the test bounds something else)."""
    if not test.count:
        return _DASH
    most = "" if test.high is None or " mean " in test.slo else f" (at most {test.high:.1%})"
    return f"{test.exceeding} of {test.count}{most}"
