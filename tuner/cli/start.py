"""`tuner start`: run a study, or go on with one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tuner.cli import options
from tuner.cli.introduction import ask, introduce
from tuner.cli.live import LiveView
from tuner.cli.options import OutputFormat
from tuner.cli.output import console, print_json, print_yaml
from tuner.cli.show import print_study
from tuner.core.errors import InvalidInput
from tuner.engines import engine_named
from tuner.store import Store
from tuner.study.place import find_place, http_connector
from tuner.study.report import report
from tuner.study.session import Ending, Session
from tuner.study.spec import StudySpec, load_spec

_TARGET = "Target"
_WORK = "Workload and promise"
_SEARCH = "Search and budget"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(start)


def start(
    deployment: Annotated[
        str | None, typer.Argument(help="The Deployment. [default: the only engine in the namespace]")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A study as YAML (docs/spec.md).")] = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    endpoint: Annotated[
        str | None,
        typer.Option(help="URL that leads to the engine, where its pod can't be reached.", rich_help_panel=_TARGET),
    ] = None,
    simulated: Annotated[
        str | None, typer.Option(help="Tune a simulated engine instead: GPU/MODEL.", rich_help_panel=_TARGET)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to plan with.", rich_help_panel=_TARGET)] = None,
    gpu: Annotated[str | None, typer.Option(help="GPU to plan with.", rich_help_panel=_TARGET)] = None,
    gpu_count: Annotated[str | None, typer.Option(help="How many GPUs.", rich_help_panel=_TARGET)] = None,
    slo: Annotated[
        list[str] | None, typer.Option(help="A promise: 'ttft p95 <= 500ms'. Repeatable.", rich_help_panel=_WORK)
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="capacity, throughput or headroom.", rich_help_panel=_WORK)
    ] = None,
    count: Annotated[
        str | None, typer.Option(help="output-tokens/s, total-tokens/s or requests/s.", rich_help_panel=_WORK)
    ] = None,
    rate: Annotated[str | None, typer.Option(help="Requests per second (headroom).", rich_help_panel=_WORK)] = None,
    concurrency: Annotated[str | None, typer.Option(help="Clients (throughput).", rich_help_panel=_WORK)] = None,
    prompt_tokens: Annotated[str | None, typer.Option(help="Prompt length.", rich_help_panel=_WORK)] = None,
    output_tokens: Annotated[str | None, typer.Option(help="Output length.", rich_help_panel=_WORK)] = None,
    shared_prefix: Annotated[
        str | None, typer.Option(help="Tokens that prompts begin with in common.", rich_help_panel=_WORK)
    ] = None,
    prompts_file: Annotated[str | None, typer.Option(help="Your own prompts, JSONL.", rich_help_panel=_WORK)] = None,
    api: Annotated[str | None, typer.Option(help="completions or chat.", rich_help_panel=_WORK)] = None,
    knob: Annotated[
        list[str] | None,
        typer.Option(help="Edit a knob: NAME=VALUE, NAME=LOW..HIGH, NAME=drop. Repeatable.", rich_help_panel=_SEARCH),
    ] = None,
    allow_output_change: Annotated[
        bool, typer.Option(help="Also search knobs that may change what the model writes.", rich_help_panel=_SEARCH)
    ] = False,
    sampler: Annotated[str | None, typer.Option(help="tpe or random.", rich_help_panel=_SEARCH)] = None,
    starts: Annotated[str | None, typer.Option(help="Most engine starts.", rich_help_panel=_SEARCH)] = None,
    gpu_minutes: Annotated[str | None, typer.Option(help="Most GPU-minutes.", rich_help_panel=_SEARCH)] = None,
    pairs: Annotated[
        str | None, typer.Option(help="Most pairs of starts to confirm the winner.", rich_help_panel=_SEARCH)
    ] = None,
    smallest_gain: Annotated[str | None, typer.Option(help="Gain that matters: 5%.", rich_help_panel=_SEARCH)] = None,
    until: Annotated[
        str | None, typer.Option(help="When it must be over: 2h30m, or a time.", rich_help_panel=_SEARCH)
    ] = None,
    rollout_deadline: Annotated[str | None, typer.Option(help="Longest start: 20m.", rich_help_panel=_SEARCH)] = None,
    seed: Annotated[str | None, typer.Option(help="Seed of everything drawn.", rich_help_panel=_SEARCH)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the study.")] = None,
    storage: options.Storage = None,
    new: Annotated[bool, typer.Option("--new", help="Do not go on with an unfinished study.")] = False,
    yes: options.Yes = False,
    output: options.Output = OutputFormat.TABLE,
) -> None:
    """Run a study: measure what is there, search, confirm the winner, and leave the target as it was found.

    The same command goes on with a study that was stopped or killed. Ctrl-C stops it and puts the target back.
    """
    given = dict(locals())
    for other in ("file", "new", "yes", "output"):
        del given[other]
    if not allow_output_change:
        del given["allow_output_change"]
    if kubeconfig is not None:
        given["kubeconfig"] = str(kubeconfig)
    spec = load_spec(file, _target_options(given, file), default_storage=options.storage_url(None))
    assert spec.storage is not None
    _make_folder(spec.storage)
    with Store.open(spec.storage) as store:
        ending = asyncio.run(_run(spec, store, new, yes, quiet=output in (OutputFormat.JSON, OutputFormat.YAML)))
        trials = store.trials(ending.study.id)
    if output is OutputFormat.JSON:
        print_json(report(ending.study, trials))
    elif output is OutputFormat.YAML:
        print_yaml(report(ending.study, trials))
    else:
        print()
        print_study(ending.study, trials, wide=output is OutputFormat.WIDE)
        _say_what_next(ending, spec)


def _target_options(given: Mapping[str, Any], file: Path | None) -> dict[str, Any]:
    """Without a file and without --simulated the target is the cluster that kubectl would use."""
    named = {key: value for key, value in given.items() if value is not None}
    kubernetes = {"deployment", "namespace", "context", "kubeconfig", "endpoint"}
    if file is None and "simulated" not in named and not kubernetes & named.keys():
        raise InvalidInput(
            "name a target: -n NAMESPACE (a Deployment in a cluster), --simulated GPU/MODEL (an embedded engine), "
            "or --file STUDY.yaml"
        )
    return named


async def _run(spec: StudySpec, store: Store, new: bool, yes: bool, quiet: bool) -> Ending:
    api_key = os.environ.get("TUNER_API_KEY")
    place = await find_place(spec, store, api_key=api_key, new=new)
    connect = http_connector(engine_named(spec.engine), spec.core_workload().api, api_key)
    session = Session(spec, store, place, connect)
    try:
        preview = await session.look()
        if not quiet:
            introduce(spec, preview, place.resumes.name if place.resumes else None)
        if place.live and not yes:
            ask(spec, preview)
    except BaseException:
        await place.target.release()
        raise
    title = f"tuning {preview.info.name}"
    with LiveView(console, preview.aim.objective, title, quiet=quiet) as view:
        return await session.run(preview, view)


def _make_folder(url: str) -> None:
    """The folder of a SQLite file that does not exist yet."""
    path = url.partition("sqlite:///")[2]
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)


def _say_what_next(ending: Ending, spec: StudySpec) -> None:
    if not ending.confirmation.exportable:
        return
    at = f" --storage {spec.storage}" if spec.storage != options.storage_url(None) else ""
    console.print(
        f"\ntuner export {ending.study.name}{at} -o strategic-merge   prints the winner as a patch", highlight=False
    )
    if spec.target.kubernetes is not None:
        console.print(f"tuner apply {ending.study.name}{at}   applies it to the live Deployment", highlight=False)
