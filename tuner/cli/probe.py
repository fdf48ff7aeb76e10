"""`tuner probe`: measure a server that somebody else runs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli import options, study_options
from tuner.cli.options import OutputFormat
from tuner.cli.output import console, emit
from tuner.cli.probe_live import ProbeView
from tuner.cli.probe_page import page
from tuner.cli.probe_table import print_result
from tuner.core.cause import TrialFailed
from tuner.core.errors import Interrupted, InvalidInput, TunerError
from tuner.core.measurement import Answer
from tuner.engines.metrics import counters
from tuner.probe.client.driver import headers_of, http_driver
from tuner.probe.client.models import find_model
from tuner.probe.run import ProbeRun
from tuner.probe.workload.prompts import read_prompts
from tuner.study.probe_report import ProbeResult, probe_report
from tuner.study.probing import Probing, read_probing
from tuner.study.signals import interruptible

_LEVELS = "Levels"


def _option(metavar: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar=metavar, help=text, rich_help_panel=_LEVELS)
    return option


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(probe)


def probe(
    url: Annotated[str, typer.Argument(metavar="URL", help="The server, with or without /v1.")],
    file: study_options.File = None,
    rate: Annotated[
        str | None, _option("REQ/S,...", "Levels at these requests/s; with --capacity where it begins.")
    ] = None,
    concurrency: Annotated[str | None, _option("NUMBER,...", "Levels of so many clients that each wait.")] = None,
    stages: Annotated[
        str | None, _option("TIME:REQ/S,...", "One level of a changing rate: 30s:2,60s:2..8 (from 2 up to 8).")
    ] = None,
    capacity: Annotated[
        bool,
        typer.Option("--capacity", help="Find the highest rate that meets every SLO.", rich_help_panel=_LEVELS),
    ] = False,
    requests: Annotated[str | None, _option("NUMBER", "Requests of each level. [default: until certain]")] = None,
    duration: Annotated[str | None, _option("DURATION", "Time of each level: 60s. [default: until certain]")] = None,
    slo: study_options.Slos = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model to ask for. [default: the only one there is]")
    ] = None,
    prompt_tokens: study_options.PromptTokens = None,
    output_tokens: study_options.OutputTokens = None,
    shared_prefix: study_options.SharedPrefix = None,
    prompts_file: study_options.PromptsFile = None,
    trace: study_options.Trace = None,
    arrivals: study_options.Arrivals = None,
    burstiness: study_options.Burstiness = None,
    api: study_options.Api = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="HEADER", help="Sent with every request: 'NAME: VALUE'.")
    ] = None,
    processes: Annotated[str | None, typer.Option(metavar="NUMBER", help="Processes that send. [default: 1]")] = None,
    probe: Annotated[str | None, _option("DURATION", "Most time under load in all. [default: 30min]")] = None,
    seed: study_options.Seed = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a picture of it as one HTML file.")
    ] = None,
    output: options.Output = OutputFormat.TABLE,
) -> None:
    """Measure an OpenAI-compatible streaming server: how fast it answers under a load, or how much load it bears.

    Exit code 1 where an SLO fails, or could not be shown to hold. Ctrl-C ends it with what was measured so far.
    """
    given = {name: value for name, value in locals().items() if name not in ("html", "output")}
    asked = read_probing(given)
    if html is not None:
        _refuse_unwritable(html)
    result = asyncio.run(_probe(asked, quiet=output in (OutputFormat.JSON, OutputFormat.YAML)))
    shown = probe_report(result, series=output is OutputFormat.JSON)
    emit(output, shown, lambda: print_result(result, wide=output is OutputFormat.WIDE))
    if html is not None:  # last: what was measured is not lost where its folder is gone
        html.write_text(page(result), encoding="utf-8")
    _end(result)


async def _probe(asked: Probing, quiet: bool) -> ProbeResult:
    """Measure. Where that was stopped, or could not go on, the result has what was measured until then."""
    if asked.workload.prompts_file is not None:
        read_prompts(asked.workload.prompts_file)  # a mistake in it is told before a server is asked for anything
    began, zero = datetime.now(UTC), time.monotonic()
    headers = headers_of(os.environ.get("TUNER_API_KEY"), asked.headers)
    model = await find_model(asked.endpoint, headers, asked.model)
    driver = http_driver(
        asked.endpoint,
        model,
        api=asked.workload.api,
        headers=headers,
        processes=asked.processes,
        counters=counters,
    )
    failure, stopped = None, None
    with ProbeView(console, asked, model, quiet=quiet) as view:
        run = ProbeRun(driver, asked.job, asked.loads, asked.extent, observe=view)
        view.watch(run)
        try:
            await interruptible(run.go(), lambda _: None)
        except Interrupted as interrupted:
            stopped = signal.Signals(interrupted.exit_code - 128).name
        except TrialFailed as failed:
            failure = failed.failure
        finally:
            await driver.close()
        run.cut_off()
    wall_s = time.monotonic() - zero
    return ProbeResult(asked, model, began, wall_s, tuple(run.held), run.measurement, failure, stopped)


def _refuse_unwritable(html: Path) -> None:
    """Raise InvalidInput where no file can be written, before anything is measured for it."""
    if html.is_dir() or not os.access(html if html.exists() else html.absolute().parent, os.W_OK):
        raise InvalidInput(f"--html: {html} can't be written; allowed: the path of a file in a folder that is there")


def _end(result: ProbeResult) -> None:
    """Leave with the exit code of how it went (docs/cli.md)."""
    if result.stopped is not None:
        number = signal.Signals[result.stopped]
        raise Interrupted(number, f"stopped by {result.stopped}; only what was measured until then is there")
    if result.failure is not None:
        raise TunerError(str(result.failure))
    if result.verdict not in (None, Answer.PASS) or len(result.rated) < len(result.asked.loads):
        raise typer.Exit(1)
