"""`tuner probe`: what it refuses, and how its result looks as table, JSON and page."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from rich.console import Console

from tests.unit.cli.conftest import Tuner
from tests.unit.probe.queue_driver import QueueDriver
from tuner.cli.probe_live import ProbeView
from tuner.cli.probe_page import page
from tuner.cli.probe_table import print_result
from tuner.core.cause import Cause, Failure
from tuner.core.measurement import Answer
from tuner.probe.run import ProbeRun
from tuner.study.probe_report import ProbeResult, probe_report
from tuner.study.probing import read_probing

URL = "http://10.0.0.5:8000"
SVG = "{http://www.w3.org/2000/svg}"
Measured = Callable[..., "ProbeResult"]


async def _measured(**options: object) -> ProbeResult:
    asked = read_probing({"url": URL, "output_tokens": "16", **options})
    run = ProbeRun(QueueDriver(), asked.job, asked.loads, asked.extent)
    await run.go()
    began = datetime(2026, 8, 1, 12, tzinfo=UTC)
    return ProbeResult(asked, "llama <b>", began, 99.0, tuple(run.held), run.measurement)


async def _sweep() -> ProbeResult:
    slos = ["ttft p95 <= 500ms", "itl p99 <= 50ms"]
    return await _measured(rate="5,12,30", requests="400", slo=slos)


def _printed(result: ProbeResult, *, wide: bool = False) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        print_result(result, wide=wide)
    return out.getvalue()


def test_a_mistake_is_told_before_anything_is_sent(tuner: Tuner) -> None:
    for arguments, expected in (
        (("http://127.0.0.1:1",), "say what to measure"),
        ((), "Missing argument 'URL'"),
        (("http://127.0.0.1:1", "--rate", "x"), "--rate: objective.rate: 'x' is not a number"),
        (("http://127.0.0.1:1", "--rate", "1", "--html", "nowhere/x.html"), "--html: nowhere/x.html can't be written"),
        (("http://127.0.0.1:1", "--rate", "1", "--html", "."), "--html: . can't be written"),
    ):
        said = tuner("probe", *arguments)
        assert (said.code, said.out) == (2, "")
        assert expected in said.err


def test_a_header_that_can_not_be_sent_is_refused_without_its_value(
    tuner: Tuner, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tuner("probe", "http://127.0.0.1:1", "--rate", "1", "--header", "X-Key: geheimnüs")
    assert (said.code, said.err) == (
        2,
        "tuner: header X-Key: its value holds what can't be sent; allowed: one line of ASCII text\n",
    )
    monkeypatch.setenv("TUNER_API_KEY", "se\ncret")
    said = tuner("probe", "http://127.0.0.1:1", "--rate", "1")
    assert said.code == 2
    assert said.err.startswith("tuner: header Authorization: its value holds")


def test_a_server_that_is_not_there_is_a_failure_and_no_mistake(tuner: Tuner) -> None:
    said = tuner("probe", "http://127.0.0.1:1", "--rate", "1")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("tuner: http://127.0.0.1:1 does not answer: ")


async def test_the_table_has_every_level_its_latencies_and_its_verdicts() -> None:
    said = _printed(await _sweep())
    assert re.search(r"^LOAD +REQ/S +TOK/S +TTFT P50 +TTFT P95 +ITL P99 +FAILED +ANSWER$", said, re.MULTILINE)
    for load, answer in (("5 req/s", "pass"), ("12 req/s", "pass"), ("30 req/s", "fail")):
        assert re.search(rf"^{load} .*{answer}$", said, re.MULTILINE)
    for metric in ("TTFT", "ITL", "TPOT", "e2e"):
        assert len(re.findall(rf"^{metric} +\S+ \S+", said, re.MULTILINE)) == 3
    assert re.search(r"^requests +\d+ measured of 400: the first \d+ \(\d+\.\d s\) are warm-up", said, re.MULTILINE)
    assert re.search(r"^ttft p95 <= 500ms +pass .* \+\d+% +0 of \d+ \(at most ", said, re.MULTILINE)
    assert re.search(r"^ttft p95 <= 500ms +fail .* -\d+% ", said, re.MULTILINE)
    assert re.search(r"^not steady .*more than it served$", said, re.MULTILINE)
    assert "\nverdict  an SLO fails\n" in said


async def test_a_search_prints_the_level_that_speaks_for_it_and_wide_all_of_them() -> None:
    result = await _measured(capacity=True, slo=["ttft p95 <= 500ms"])
    said = _printed(result)
    assert said.count("\nLATENCY ") == 1
    wide = _printed(result, wide=True)
    assert wide.count("\nLATENCY ") == len(result.held)
    assert re.search(r"^LOAD +REQ/S +TOK/S +GOODPUT +TTFT P50 ", wide, re.MULTILINE)
    pattern = r"^capacity +([\d.]+) req/s \([\d.]+ output tok/s\); ([\d.]+) was shown to hold"
    found = re.search(pattern, said, re.MULTILINE)
    assert found is not None
    assert float(found[1]) == pytest.approx(20.0, rel=0.15)
    assert float(found[2]) <= float(found[1])


def test_nothing_measured_is_said() -> None:
    asked = read_probing({"url": URL, "rate": "1"})
    result = ProbeResult(asked, "m", datetime.now(UTC), 1.0, (), stopped="SIGINT")
    assert "nothing was measured" in _printed(result)
    assert "Nothing was measured." in page(result)
    assert probe_report(result)["levels"] == []


async def test_the_verdict_counts_only_what_was_shown() -> None:
    result = await _measured(rate="5,6", requests="400", slo=["ttft p95 <= 500ms"])
    assert result.verdict is Answer.PASS
    assert replace(result, held=result.held[:1]).verdict is Answer.UNCERTAIN  # one is missing
    held = result.held[0]
    void = replace(held, level=replace(held.level, saturated=True))
    assert replace(result, held=(void, result.held[1])).verdict is Answer.UNCERTAIN
    assert (await _measured(rate="5", requests="40")).verdict is None
    assert (await _sweep()).verdict is Answer.FAIL
    assert replace(result, failure=Failure(Cause.CRASH_UNDER_LOAD, "gone")).verdict is Answer.FAIL
    assert replace(result, held=result.held[:1], failure=Failure(Cause.PROBE_ERROR, "ours")).verdict is not Answer.FAIL


async def test_the_json_is_plain_and_whole() -> None:
    result = replace(await _sweep(), stopped="SIGTERM", failure=Failure(Cause.CRASH_UNDER_LOAD, "gone"))
    data = json.loads(json.dumps(probe_report(result)))
    assert data["schema"] == 1
    assert data["server"] == {"url": URL, "model": "llama <b>", "api": "completions"}
    assert data["verdict"] == "fail"
    assert data["capacity"] is None
    assert (data["stopped"], data["failure"]["cause"]) == ("SIGTERM", "crash-under-load")
    assert data["asked"]["levels"] == [{"rate": rate, "concurrency": None} for rate in (5.0, 12.0, 30.0)]
    level = data["levels"][0]
    assert len(level["quantiles"]["ttft"]) == len(data["percentiles"])
    assert set(level["margins"]) == {"ttft p95 <= 500ms", "itl p99 <= 50ms"}
    assert (level["recorded"], level["partial"], level["void"]) == (400, False, None)
    assert {"ttft", "itl", "tpot", "e2e"} == set(level["statistics"])
    assert set(level) - set(probe_report(result, series=False)["levels"][0]) == {"quantiles", "timeline"}


async def test_the_json_of_a_search_has_what_was_found_and_what_it_cost() -> None:
    data = probe_report(await _measured(capacity=True, slo=["ttft p95 <= 500ms"]))
    found = data["capacity"]
    assert found["proven_rate"] <= found["request_rate"] == pytest.approx(20.0, rel=0.15)
    assert found["refuted_rate"] is None or found["refuted_rate"] > found["proven_rate"]
    assert data["levels"][found["deciding_level"]]["answer"] == "pass"
    assert 0 <= found["margins"]["ttft p95 <= 500ms"] <= 1
    assert data["probe_s"] == pytest.approx(sum(level["duration_s"] for level in data["levels"]))


async def test_the_page_is_whole_in_one_file_without_scripts() -> None:
    drawn = page(await _sweep())
    root = Xml.fromstring(drawn)
    assert not re.search(r"<script|<link|<img|<iframe|\b(?:src|href)=|url\(|@import", drawn)
    assert set(re.findall(r"https?://[^\s\"<]+", drawn)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xhtml",
        URL,
    }
    assert "prefers-color-scheme:dark" in drawn
    assert "llama &lt;b&gt;" in drawn
    ids = [one.get("id") for one in root.iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    titles = [svg.findtext(f"{SVG}title") for svg in root.iter(f"{SVG}svg")]
    assert titles == [
        "TTFT against rate",
        "ITL against rate",
        "Requests served against rate",
        "TTFT by percentile",
        "ITL by percentile",
        "Output tokens over time",
        "TTFT over time",
        "Requests in flight over time",
    ]
    assert "nothing was measured" not in drawn


async def test_a_page_of_one_level_draws_nothing_against_the_load() -> None:
    drawn = page(await _measured(concurrency="8", requests="200"))
    assert "against" not in drawn.partition("</style>")[2].partition("<dl>")[0]
    assert "TTFT by percentile" in drawn
    assert "Requests served against" not in drawn


async def test_a_page_of_many_levels_draws_as_many_lines_as_can_be_told_apart() -> None:
    result = await _measured(rate=",".join(map(str, range(2, 14))), requests="60")
    root = Xml.fromstring(page(result))
    (chart,) = (svg for svg in root.iter(f"{SVG}svg") if svg.findtext(f"{SVG}title") == "TTFT by percentile")
    named = [text.text for text in chart.iter(f"{SVG}text") if text.text and text.text.endswith(" req/s")]
    assert len(named) == 6
    assert {"2 req/s", "13 req/s"} <= set(named)


async def test_a_pipe_gets_a_line_for_each_level_and_a_terminal_a_table() -> None:
    asked = read_probing({"url": URL, "rate": "5", "requests": "60", "output_tokens": "16"})
    seen = {}
    for terminal in (False, True):
        out = io.StringIO()
        console = Console(file=out, width=100, force_terminal=terminal, _environ={})
        with ProbeView(console, asked, "llama [x]") as view:
            run = ProbeRun(QueueDriver(), asked.job, asked.loads, asked.extent, observe=view)
            view.watch(run)
            await run.go()
            if terminal:
                console.print(view._panel())
        seen[terminal] = out.getvalue()
    lines = seen[False].splitlines()
    assert lines[0] == f"measuring llama [x] at {URL}"
    assert lines[-2] == "5 req/s: up to 60 requests"
    assert re.fullmatch(r"5 req/s: \w+ \(\d+ requests\)", lines[-1])
    assert re.search(r"5 req/s +60 ", seen[True])


@pytest.mark.parametrize("width", [60, 80, 140])
async def test_the_panel_is_no_wider_than_its_terminal(width: int) -> None:
    result = await _sweep()
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, no_color=True, color_system=None, _environ={})
    view = ProbeView(console, result.asked, result.model)
    run = ProbeRun(QueueDriver(), result.asked.job)
    run.held.extend(result.held)
    view.watch(run)
    console.print(view._panel())
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_the_picture_s_folder_is_looked_at_first(tuner: Tuner, tmp_path: Path) -> None:
    (tmp_path / "locked.html").touch()
    said = tuner("probe", "http://127.0.0.1:1", "--rate", "1", "--html", str(tmp_path / "locked.html"))
    assert said.code == 1  # the file may be written; the server is not there


async def test_every_field_of_the_json_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", (Path(__file__).parents[3] / "docs" / "probe.md").read_text()))
    data = probe_report(await _measured(capacity=True, slo=["ttft p95 <= 500ms"]))
    fields = {*data, *data["server"], *data["asked"], *data["capacity"], *data["levels"][0]}
    assert fields - documented == set()
