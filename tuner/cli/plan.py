"""`tuner plan`: what planner and simulator expect of a configuration."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from tuner.cli import options, study_options
from tuner.cli.options import OutputFormat
from tuner.cli.output import console, emit, print_facts, print_table, say
from tuner.core.knob import Candidate
from tuner.core.workload import Objective
from tuner.search import Prediction
from tuner.study import units
from tuner.study.expectation import CLOSE, expected, kv_cache, memory
from tuner.study.planning import Plan, look_and_plan
from tuner.study.session import Preview
from tuner.study.spec import load_spec
from tuner.study.spec.settings import parse_settings


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plan)


def plan(
    deployment: study_options.DeploymentName = None,
    file: study_options.File = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
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
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A knob of the configuration asked about. Once for each."),
    ] = None,
    first: Annotated[
        int, typer.Option(min=0, max=20, metavar="NUMBER", help="How many of the best expected to show.")
    ] = 3,
    storage: options.Storage = None,
    output: options.Output = OutputFormat.TABLE,
) -> None:
    """Expect, without starting anything: memory, KV cache, capacity and margins of a configuration."""
    given = study_options.given(locals(), "set_", "first", "output")
    spec = load_spec(file, given)
    with options.store_or_empty(spec.storage) as store:
        preview, made = asyncio.run(look_and_plan(spec, store, parse_settings(set_ or [], "--set"), first))
    emit(output, made.to_dict(), lambda: _print(preview, made, first))


def _print(preview: Preview, made: Plan, first: int) -> None:
    objective = preview.aim.objective
    _print_one(made.baseline, objective, None)
    if made.asked is not None:
        _print_one(made.asked, objective, made.baseline.value)
    if first and not made.first:
        say("No candidate is expected to be better than what was found; a study tries what fills the space.")
        print()
    if made.first:
        console.print("What would be tried first:", style="bold")
        rows = [
            [
                units.objective_value(one.value, objective),
                units.gain(one.value, made.baseline.value, objective),
                f"{one.kv_tokens:,}" if one.kv_tokens is not None else "",
                str(Candidate.of({k: v for k, v in one.candidate.items() if made.baseline.settings.get(k) != v})),
                one.reason,
            ]
            for one in made.first
        ]
        print_table(["expected", "vs baseline", "KV tokens", "changed", "why"], rows)
        print()
    known = "the start-up log of an earlier study" if made.calibrated else "published figures only (about 5 % off)"
    say(f"Memory from {known}; times from a roofline model. A study measures.", style="dim")


def _print_one(one: Prediction, objective: Objective, baseline: float | None) -> None:
    facts: dict[str, str | Text] = {one.reason: Text(str(one.candidate), style="bold")}
    told = expected(one, objective, baseline)
    facts["expected"] = Text(told, style="red") if one.refusal is not None else told
    if one.refusal is None:
        facts["margins"] = ", ".join(f"{slo} {units.room(-over)}" for slo, over in one.margins.items()) or "—"
    if one.memory is not None:
        facts |= {"memory": memory(one.memory), "KV cache": kv_cache(one.memory)}
    if not one.certain:
        facts["caution"] = CLOSE
    print_facts(facts)
    console.print()
