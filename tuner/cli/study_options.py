"""The options that lie over a study's file. Their values stay text: `tuner.study.spec` reads and judges them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tuner.core.errors import InvalidInput
from tuner.study.spec.sections import BudgetSpec

_BUDGET = BudgetSpec()
_TARGET, _WORK, _SEARCH = "Target", "Workload and promise", "Search and budget"


def _option(heading: str, metavar: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar=metavar, help=text, rich_help_panel=heading)
    return option


DeploymentName = Annotated[
    str | None, typer.Argument(metavar="DEPLOYMENT", help="The Deployment. [default: the only engine in the namespace]")
]
File = Annotated[
    Path | None, typer.Option("--file", "-f", metavar="FILE", help="A study as YAML (docs/spec.md); - is stdin.")
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the study. [default: the target's]")]

Simulated = Annotated[str | None, _option(_TARGET, "GPU/MODEL", "A simulated engine instead of a cluster's.")]
Endpoint = Annotated[str | None, _option(_TARGET, "URL", "Where the engine is reached. [default: the pod's address]")]
AllowForeignTraffic = Annotated[
    bool,
    typer.Option("--allow-foreign-traffic", help="Begin although others use the engine.", rich_help_panel=_TARGET),
]
Model = Annotated[str | None, _option(_TARGET, "MODEL", "Model to plan with. [default: what the target says]")]
Gpu = Annotated[str | None, _option(_TARGET, "GPU", "GPU to plan with. [default: what the target says]")]
GpuCount = Annotated[str | None, _option(_TARGET, "NUMBER", "How many GPUs. [default: what the target says]")]

Slos = Annotated[list[str] | None, _option(_WORK, "SLO", "A promise: 'ttft p95 <= 500ms'. Give it once for each.")]
Objective = Annotated[str | None, _option(_WORK, "KIND", "capacity, throughput or headroom. [default: capacity]")]
Count = Annotated[
    str | None, _option(_WORK, "UNIT", "output-tokens/s, total-tokens/s or requests/s. [default: output-tokens/s]")
]
Rate = Annotated[str | None, _option(_WORK, "REQ/S", "Requests per second (headroom; a first guess for capacity).")]
Concurrency = Annotated[str | None, _option(_WORK, "NUMBER", "Clients that each wait for their answer (throughput).")]
PromptTokens = Annotated[str | None, _option(_WORK, "TOKENS", "Length of prompts. [default: 512]")]
OutputTokens = Annotated[str | None, _option(_WORK, "TOKENS", "Length of answers. [default: 128]")]
SharedPrefix = Annotated[str | None, _option(_WORK, "TOKENS", "Tokens that prompts begin with in common. [default: 0]")]
PromptsFile = Annotated[str | None, _option(_WORK, "FILE", "Your own prompts (JSONL) instead of synthetic ones.")]
Trace = Annotated[str | None, _option(_WORK, "FILE", "A recorded trace (Azure CSV, Mooncake JSONL) to replay.")]
Arrivals = Annotated[
    str | None, _option(_WORK, "KIND", "poisson, constant, gamma or trace. [default: poisson; of a trace its own]")
]
Burstiness = Annotated[str | None, _option(_WORK, "NUMBER", "Shape of gamma arrivals: 1 is Poisson, less is burstier.")]
Api = Annotated[str | None, _option(_WORK, "NAME", "completions or chat. [default: completions]")]

Knobs = Annotated[
    list[str] | None,
    _option(_SEARCH, "EDIT", "Edit a knob: NAME=VALUE, NAME=LOW..HIGH, NAME=A,B, NAME=search or NAME=drop."),
]
AllowOutputChange = Annotated[
    bool,
    typer.Option(
        "--allow-output-change", help="Also search what may change the model's output.", rich_help_panel=_SEARCH
    ),
]
Sampler = Annotated[str | None, _option(_SEARCH, "NAME", "tpe or random. [default: tpe]")]
Starts = Annotated[str | None, _option(_SEARCH, "NUMBER", f"Most engine starts. [default: {_BUDGET.starts}]")]
GpuMinutes = Annotated[str | None, _option(_SEARCH, "MINUTES", "Most GPU-minutes. [default: no limit]")]
Pairs = Annotated[
    str | None, _option(_SEARCH, "NUMBER", f"Most pairs of starts that confirm the winner. [default: {_BUDGET.pairs}]")
]
SmallestGain = Annotated[
    str | None, _option(_SEARCH, "SHARE", f"The least gain that matters. [default: {_BUDGET.smallest_gain:.0%}]")
]
Probe = Annotated[str | None, _option(_SEARCH, "DURATION", "Most time under load per start. [default: 30min]")]
Until = Annotated[str | None, _option(_SEARCH, "WHEN", "When all must be over: 2h30m, or a time. [default: no limit]")]
RolloutDeadline = Annotated[str | None, _option(_SEARCH, "DURATION", "Longest time for one start. [default: 20min]")]
Seed = Annotated[str | None, _option(_SEARCH, "NUMBER", "Seed of all that is drawn. [default: 0]")]


def given(arguments: Mapping[str, Any], *others: str) -> dict[str, Any]:
    """What the user gave of a study, from a command's arguments less the `others`.

    Raises InvalidInput where neither a file nor an option names a target.
    """
    named = {name: value for name, value in arguments.items() if name not in others and value not in (None, False)}
    if not named.keys() & {"file", "simulated", "deployment", "namespace", "context", "kubeconfig", "endpoint"}:
        raise InvalidInput(
            "name a target: -n NAMESPACE (an engine in a cluster), --simulated GPU/MODEL (an embedded engine, "
            "e.g. h100/llama-3.1-8b) or --file STUDY.yaml"
        )
    named.pop("file", None)
    return {name: str(value) if isinstance(value, Path) else value for name, value in named.items()}
