"""`tuner doctor`: what can be tuned here, what can't, and what is wrong with the flags."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.text import Text

from tuner.cli import options
from tuner.cli.options import OutputFormat
from tuner.cli.output import console, emit
from tuner.core.errors import InvalidInput
from tuner.core.hardware import Gpu, Model
from tuner.simulator.catalogue import find_gpu
from tuner.study.checkup import check_namespace
from tuner.study.doctor import Finding, Severity, examine_file
from tuner.study.place import model_named
from tuner.targets.kubernetes.client import Client

Known = TypeVar("Known", Gpu, Model)

_STYLES = {Severity.OK: "green", Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.BLOCKER: "bold red"}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    deployment: Annotated[
        str | None, typer.Argument(metavar="DEPLOYMENT", help="The Deployment. [default: all of the namespace]")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="A manifest file instead of a cluster; - is stdin."),
    ] = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    assume_version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The engine's version, where the image does not tell.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="GPU", help="The GPU to judge memory by. [default: by labels]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model to judge memory by. [default: by its name]")
    ] = None,
    output: options.Output = OutputFormat.TABLE,
) -> None:
    """Look, change nothing: which engine, what can be tuned and why not, RBAC, flags that are wrong and what to write.

    Exit code 1 where something keeps an engine from starting or from being tuned.
    """
    if assume_version is not None and not re.fullmatch(r"v?\d+(\.\d+)+\S*", assume_version):
        raise InvalidInput(f"--assume-version: {assume_version!r} is not a version; write one like 0.12.0")
    on, served = _named("gpu", gpu, find_gpu), _named("model", model, model_named)
    if file is not None:
        if namespace or deployment:
            raise InvalidInput("--file: a file and a cluster are two questions; give one of them")
        findings = examine_file(_read(file), assume_version=assume_version, gpu=on, model=served)
    else:
        findings = asyncio.run(_cluster(deployment, namespace, context, kubeconfig, assume_version, on, served))
    emit(output, [asdict(finding) for finding in findings], lambda: _print(findings))
    if any(finding.severity is Severity.BLOCKER for finding in findings):
        raise typer.Exit(1)


def _named(option: str, name: str | None, find: Callable[[str], Known]) -> Known | None:
    """What an option names in the catalogue. Raises InvalidInput with the option."""
    try:
        return None if name is None else find(name)
    except InvalidInput as error:
        raise InvalidInput(*(f"--{option}: {one.removeprefix(f'{option}: ')}" for one in error.problems)) from None


async def _cluster(
    deployment: str | None,
    namespace: str | None,
    context: str | None,
    kubeconfig: Path | None,
    version: str | None,
    gpu: Gpu | None,
    model: Model | None,
) -> list[Finding]:
    client = await Client.connect(kubeconfig, context)
    try:
        return await check_namespace(client, namespace or client.namespace, deployment, version, gpu, model)
    finally:
        await client.close()


def _read(file: Path) -> str:
    try:
        return typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{file}: can't be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file}: is not text in UTF-8: byte {error.start} is none of it") from None


def _print(findings: Sequence[Finding]) -> None:
    where = None
    for finding in findings:
        if finding.where != where:
            where = finding.where
            console.print(Text(("\n" if finding is not findings[0] else "") + (where or "file"), style="bold"))
        line = Text(f"  {finding.severity.value:<8} ", style=_STYLES[finding.severity])
        line.append(f"{finding.subject}: " if finding.subject else "", style="bold")
        line.append(finding.text + (f" (line {finding.line})" if finding.line else ""), style="default")
        console.print(line, soft_wrap=not console.is_terminal)
        for part in (finding.instead or "").splitlines():
            console.print(Text(f"             {part}", style="green"), soft_wrap=True)
