"""What a run of the probe came to, as one HTML page: no script, nothing from outside, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape

from rich.text import Text

from tuner.charts import STYLE, Axis, Kind, Rule, Series, line_chart
from tuner.cli.probe_live import answer_text
from tuner.cli.probe_table import SLO_COLUMNS, STATISTICS, facts, latency_rows, level_facts, slo_rows
from tuner.core.measurement import QUANTILES, Level, Timeline
from tuner.core.slo import Slo
from tuner.probe.run import Held
from tuner.study import units
from tuner.study.probe_report import ProbeResult

# More lines than that in one picture can't be told apart.
_MOST_LINES = 6
_CURVES = ("p50", "p95", "p99")
_PAGE_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1f2328;--soft:#57606a;--edge:#d8dee4;--card:#f6f8fa;
--pass:#13795b;--fail:#c11f2f;--uncertain:#8a6a00}
@media(prefers-color-scheme:dark){:root{--ground:#14181d;--ink:#dfe5eb;--soft:#9aa5b1;--edge:#3a424b;--card:#1b2026;
--pass:#4cc99b;--fail:#ff7b84;--uncertain:#dcbb4a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1320px;margin:0 auto;padding:12px}
h1{font-size:22px;line-height:1.25;margin:8px 0}
h2{font-size:17px;margin:32px 0 8px}
h1,p,dd{overflow-wrap:anywhere}
p{margin:8px 0}
.soft{color:var(--soft)}
dl{display:grid;grid-template-columns:minmax(5.5em,max-content) 1fr;gap:2px 16px;margin:12px 0}
dt{color:var(--soft)}
dd{margin:0}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,360px),1fr));gap:12px;margin:16px 0}
.charts figure{margin:0;padding:4px;max-width:640px;background:var(--card);border:1px solid var(--edge);
border-radius:8px}
.charts .chart{--chart-ground:var(--card)}
.wide{overflow-x:auto;margin:12px 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{text-align:right;padding:4px 12px 4px 0;border-bottom:1px solid var(--edge)}
th:first-child,td:first-child{text-align:left}
th{color:var(--soft);font-weight:600}
.pass{color:var(--pass)}.fail{color:var(--fail)}.uncertain{color:var(--uncertain)}
""".strip()


def page(result: ProbeResult) -> str:
    """The page, as a file that is HTML and XML."""
    asked = result.asked
    title = f"{result.model} at {asked.endpoint}"
    body = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="soft">{_text(_subtitle(result))}</p>',
        _list(facts(result)),
    ]
    charts = list(_charts(result))
    if charts:
        body.append(f'<div class="charts">{"".join(f"<figure>{chart}</figure>" for chart in charts)}</div>')
    for held in result.held:
        body += [f"<h2>{_text(str(held.level.load))} {_coloured(answer_text(held))}</h2>", _list(level_facts(held))]
        if held.level.statistics:
            body.append(_table(("latency", *STATISTICS), list(latency_rows(held.level))))
        if held.level.tests:
            body.append(_table(SLO_COLUMNS, list(slo_rows(held.level))))
    if not result.held:
        body.append("<p>Nothing was measured.</p>")
    body.append(f'<p class="soft">{_text(_HOW)}</p>')
    return _document(title, "\n".join(body))


_HOW = (
    "TTFT counts from the moment a request was due; ITL are the gaps between the events of a stream, of all requests "
    "together; TPOT is the mean gap of a request by its tokens; e2e ends with the last token. Latencies leave out the "
    "warm-up and what failed; what failed counts against the SLOs. Curves over time show a level from its first moment."
)


def _subtitle(result: ProbeResult) -> str:
    asked = result.asked
    parts = [f"tuner probe, {result.began.astimezone():%Y-%m-%d %H:%M}", f"{asked.workload.api.value} API"]
    if result.stopped is not None:
        parts.append(f"stopped by {result.stopped} before its end")
    if result.failure is not None:
        parts.append(f"could not go on: {result.failure}")
    return "; ".join(parts)


# --- charts -----------------------------------------------------------------------------------------------------------


def _charts(result: ProbeResult) -> Iterator[str]:
    rated = sorted(result.rated, key=lambda held: _load(held.level))
    if len({_load(held.level) for held in rated}) > 1:
        yield from _against_load(rated, result.asked.slos)
    shown = _some(rated, result.deciding)
    for metric in ("ttft", "itl"):
        yield _distribution(metric, shown, result.asked.slos)
    yield from _over_time(shown)


def _against_load(rated: Sequence[Held], slos: Sequence[Slo]) -> Iterator[str]:
    closed = rated[0].level.load.rate is None
    x = Axis("clients" if closed else "requests/s offered", units.plain, Kind.LOG)
    for metric in ("ttft", "itl"):
        lines = [Series(curve, _points(rated, metric, curve), marks=True) for curve in _CURVES]
        yield line_chart(
            f"{metric}-load",
            f"{units.METRICS[metric]} against {'clients' if closed else 'rate'}",
            x,
            Axis(units.METRICS[metric], units.seconds, Kind.LOG),
            lines,
            rules=_rules(metric, slos),
            description=f"{units.METRICS[metric]} of {len(rated)} levels: {', '.join(_CURVES)} against the load.",
        )
    served = [Series("served", [(_load(one.level), one.level.request_rate) for one in rated], marks=True)]
    if all(one.level.goodput is not None for one in rated):
        good = [(_load(one.level), one.level.goodput.request_rate) for one in rated if one.level.goodput is not None]
        served.append(Series("kept every SLO", good, marks=True, dashed=True))
    yield line_chart(
        "served-load",
        f"Requests served against {'clients' if closed else 'rate'}",
        x,
        Axis("requests/s served", units.plain),
        served,
        description="Requests that were served per second against the load.",
    )


def _points(rated: Sequence[Held], metric: str, curve: str) -> list[tuple[float, float | None]]:
    found = [(_load(one.level), one.level.statistics.get(metric)) for one in rated]
    return [(load, None if one is None else float(getattr(one, curve))) for load, one in found]


def _distribution(metric: str, shown: Sequence[Held], slos: Sequence[Slo]) -> str:
    lines = [
        Series(str(one.level.load), list(zip(QUANTILES, one.level.quantiles[metric], strict=True)))
        for one in shown
        if metric in one.level.quantiles
    ]
    return line_chart(
        f"{metric}-percentiles",
        f"{units.METRICS[metric]} by percentile",
        Axis("percentile", lambda value: f"{value:g}", Kind.PERCENTILES),
        Axis(units.METRICS[metric], units.seconds, Kind.LOG),
        lines,
        rules=_rules(metric, slos),
        description=f"{units.METRICS[metric]} by percentile, a line for each level: such a share took at most so long.",
    )


def _rules(metric: str, slos: Sequence[Slo]) -> list[Rule]:
    return [Rule(slo.bound, str(slo)) for slo in slos if slo.metric.value == metric]


_Curve = Callable[[Timeline], Sequence[float | None]]
_OVER_TIME: tuple[tuple[str, str, str, Callable[[float], str], _Curve], ...] = (
    (
        "tokens",
        "Output tokens over time",
        "tok/s",
        units.plain,
        lambda time: [tokens / time.bin_s for tokens in time.output_tokens],
    ),
    ("ttft", "TTFT over time", "median of a bin", units.seconds, lambda time: time.ttft_s),
    ("in-flight", "Requests in flight over time", "requests", units.plain, lambda time: time.in_flight),
    ("waiting", "Requests waiting in the engine", "requests", units.plain, lambda time: time.server_waiting),
    ("kv", "KV cache in use", "share", lambda share: f"{100 * share:.4g}%", lambda time: time.kv_usage),
)


def _over_time(shown: Sequence[Held]) -> Iterator[str]:
    """What happened in each level, second by second; what the engine does not show of itself is left out."""
    for name, title, unit, text, curve in _OVER_TIME:
        lines = [Series(str(one.level.load), _series(one.level.timeline, curve)) for one in shown]
        if any(line.points for line in lines):
            yield line_chart(
                name,
                title,
                Axis("seconds since the level began", units.plain),
                Axis(unit, text),
                lines,
                description=f"{title}, a line for each level.",
            )


def _series(time: Timeline | None, curve: _Curve) -> list[tuple[float, float]]:
    """A curve through the middles of the bins; the engine is not looked at in each of them."""
    heights = [] if time is None else [((at + 0.5) * time.bin_s, height) for at, height in enumerate(curve(time))]
    return [(when, height) for when, height in heights if height is not None]


def _some(rated: Sequence[Held], deciding: Held | None) -> list[Held]:
    """As many levels as can be told apart, evenly over the loads, the one that speaks for all of them among them."""
    if len(rated) <= _MOST_LINES:
        return list(rated)
    chosen = {round(step * (len(rated) - 1) / (_MOST_LINES - 1)) for step in range(_MOST_LINES)}
    place = rated.index(deciding) if deciding in rated else 0
    if place not in chosen:
        chosen = chosen - {min(chosen - {0, len(rated) - 1}, key=lambda one: abs(one - place))} | {place}
    return [rated[one] for one in sorted(chosen)]


def _load(level: Level) -> float:
    return level.load.rate if level.load.rate is not None else float(level.load.concurrency or 0)


# --- HTML -------------------------------------------------------------------------------------------------------------


def _document(title: str, body: str) -> str:
    parts = [
        "<!DOCTYPE html>",
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en">',
        "<head>",
        '<meta charset="utf-8"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        f"<title>{_text(title)}</title>",
        f"<style>\n{_PAGE_STYLE}\n{STYLE}\n</style>",
        "</head>",
        f"<body>\n<main>\n{body}\n</main>\n</body>",
        "</html>\n",
    ]
    return "\n".join(parts)


def _text(text: str) -> str:
    return escape(text)


def _coloured(text: Text) -> str:
    kind = {"green": "pass", "red": "fail", "yellow": "uncertain"}.get(str(text.style), "")
    return f'<span class="{kind}">{_text(text.plain)}</span>' if text.plain else ""


def _cell(value: str | Text) -> str:
    return _coloured(value) if isinstance(value, Text) else _text(value)


def _list(rows: Iterator[tuple[str, str]] | Iterator[tuple[str, str | Text]]) -> str:
    return f"<dl>{''.join(f'<dt>{_text(name)}</dt><dd>{_cell(value)}</dd>' for name, value in rows)}</dl>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    lines = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
