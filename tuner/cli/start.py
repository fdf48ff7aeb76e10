"""`tuner start`: run a study, or go on with one."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tuner.cli import options, study_options
from tuner.cli.introduction import agree, introduce
from tuner.cli.live import LiveView
from tuner.cli.options import OutputFormat
from tuner.cli.output import console, emit
from tuner.cli.show import print_study
from tuner.engines import engine_named
from tuner.store import Store, TrialRecord
from tuner.store.url import masked
from tuner.study.place import find_place, http_connector
from tuner.study.report import report
from tuner.study.session import Ending, Session
from tuner.study.spec import StudySpec, load_spec


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(start)


def start(
    deployment: study_options.DeploymentName = None,
    file: study_options.File = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    endpoint: study_options.Endpoint = None,
    allow_foreign_traffic: study_options.AllowForeignTraffic = False,
    simulated: study_options.Simulated = None,
    model: study_options.Model = None,
    gpu: study_options.Gpu = None,
    gpu_count: study_options.GpuCount = None,
    slo: study_options.Slos = None,
    objective: study_options.Objective = None,
    count: study_options.Count = None,
    rate: study_options.Rate = None,
    concurrency: study_options.Concurrency = None,
    prompt_tokens: study_options.PromptTokens = None,
    output_tokens: study_options.OutputTokens = None,
    shared_prefix: study_options.SharedPrefix = None,
    prompts_file: study_options.PromptsFile = None,
    trace: study_options.Trace = None,
    arrivals: study_options.Arrivals = None,
    burstiness: study_options.Burstiness = None,
    api: study_options.Api = None,
    knob: study_options.Knobs = None,
    allow_output_change: study_options.AllowOutputChange = False,
    sampler: study_options.Sampler = None,
    starts: study_options.Starts = None,
    gpu_minutes: study_options.GpuMinutes = None,
    pairs: study_options.Pairs = None,
    smallest_gain: study_options.SmallestGain = None,
    probe: study_options.Probe = None,
    until: study_options.Until = None,
    rollout_deadline: study_options.RolloutDeadline = None,
    seed: study_options.Seed = None,
    name: study_options.Name = None,
    storage: options.Storage = None,
    new: Annotated[bool, typer.Option("--new", help="Do not go on with an unfinished study.")] = False,
    yes: options.Yes = False,
    output: options.Output = OutputFormat.TABLE,
) -> None:
    """Run a study: measure what is there, search, confirm the winner, and leave the target as it was found.

    The same command goes on with a study that was stopped or killed. Ctrl-C stops it and puts the target back.
    """
    given = study_options.given(locals(), "new", "yes", "output")
    spec = load_spec(file, given, default_storage=options.storage_url(None))
    assert spec.storage is not None
    with Store.open(spec.storage) as store:
        ending = asyncio.run(_run(spec, store, new, yes, quiet=output in (OutputFormat.JSON, OutputFormat.YAML)))
        trials = store.trials(ending.study.id)
    shown = report(ending.study, trials, series=output is OutputFormat.JSON)
    emit(output, shown, lambda: _print(ending, trials, spec, wide=output is OutputFormat.WIDE))


def _print(ending: Ending, trials: Sequence[TrialRecord], spec: StudySpec, *, wide: bool) -> None:
    print()
    print_study(ending.study, trials, wide=wide)
    _say_what_next(ending, spec)


async def _run(spec: StudySpec, store: Store, new: bool, yes: bool, quiet: bool) -> Ending:
    api_key = os.environ.get("TUNER_API_KEY")
    place = await find_place(spec, store, api_key=api_key, new=new)
    connect = http_connector(engine_named(spec.engine), spec.core_workload().api, api_key)
    session = Session(spec, store, place, connect)
    try:
        preview = await session.look()
        await session.refuse_traffic()
        if not quiet:
            introduce(spec, preview)
        if place.live and not yes:
            agree(spec, preview)
    except BaseException:
        await place.target.release()
        raise
    title = f"tuning {preview.info.name}"
    with LiveView(console, preview.aim.objective, title, quiet=quiet) as view:
        return await session.run(preview, view)


def _say_what_next(ending: Ending, spec: StudySpec) -> None:
    if not ending.confirmation.exportable or spec.storage is None:
        return
    at = f" --storage {masked(spec.storage)}" if spec.storage != options.storage_url(None) else ""
    live = spec.target.kubernetes is not None
    shape = "-o strategic-merge" if live else "-o flags"
    print(f"\nthe winner as {'a patch' if live else 'flags'}:  {own_command()} export {ending.study.name} {shape}{at}")
    if live:
        print(f"apply it:  {own_command()} apply {ending.study.name}{at}")


def own_command() -> str:
    """How the user calls this command: it need not be on the PATH."""
    return "tuner" if shutil.which("tuner") or not sys.argv[0].endswith("/tuner") else sys.argv[0]
