"""`tuner`: the commands, and how errors end them. docs/cli.md lists the exit codes."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from tuner import __version__
from tuner.cli.help import PlainCommand, write_options
from tuner.core.errors import TunerError

if TYPE_CHECKING:
    from typer._click.core import Command, Context
    from typer._click.formatting import HelpFormatter

# In the order of a first use. The command itself is in the module of its name.
_COMMANDS = {
    "doctor": "Say what can be tuned here, and which flags are wrong",
    "plan": "Say what to expect of a configuration",
    "probe": "Measure a server: its latency under load, or its capacity",
    "start": "Tune: run a study, or go on with one",
    "studies": "List the studies",
    "show": "Show a study: its answer and its trials",
    "dashboard": "Review studies in a browser",
    "report": "Write a study's page as one HTML file",
    "export": "Write a study's winner as a patch",
    "apply": "Give the live Deployment a study's winner",
    "restore": "Put a Deployment back if a study could not",
    "engine-sim": "Serve a simulated vLLM over HTTP",
}


class _Commands(TyperGroup):
    """Loads a command when it is called: help and completion need not wait for what only a study needs (a second)."""

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002
        """All names."""
        return list(_COMMANDS)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write options, then commands."""
        self.format_commands(ctx, formatter)
        write_options(self.get_params(ctx), ctx, formatter)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002
        """Name and summary, for lists."""
        summary = _COMMANDS.get(cmd_name)
        return None if summary is None else TyperCommand(cmd_name, help=summary)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """The command to run or to complete."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name and listed else listed, rest


def _load(name: str) -> Command:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    import_module(f"tuner.cli.{name.replace('-', '_')}").add_to(app)
    app.registered_commands[0].cls = PlainCommand
    command = get_command(app)
    command.name = name
    return command


app = typer.Typer(
    name="tuner",
    cls=_Commands,
    help="Finds the engine settings that serve the most within the latency you promised, on a live LLM Deployment, "
    "and leaves the Deployment as it was unless told to keep the winner.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tuner {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None: ...


def main() -> None:
    """Run the command line; errors that the user can act on end it without a traceback."""
    if sys.stdout is None:  # closed by the caller
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log or a pipe should see a study's lines as they come
    code = _run()
    try:
        sys.stdout.flush()
    except OSError as error:
        code = code or _no_output(error)
        _silence(1)
    sys.exit(code)


def _run() -> str | int | None:
    try:
        app(prog_name="tuner")
    except SystemExit as ended:
        return ended.code
    except TunerError as error:
        _complain(str(error) or type(error).__name__)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        _silence(1)
        return _no_output(error)
    return 0


def _no_output(error: OSError) -> int:
    _complain(f"{error.filename or 'output'}: {error.strerror or error}")
    return 1


def _complain(text: str) -> None:
    try:
        for line in text.splitlines():
            print(f"tuner: {line.strip()}", file=sys.stderr)
    except OSError:  # the terminal is gone: the exit code has to do
        _silence(2)


def _silence(descriptor: int) -> None:
    """Write nothing there any more, not even what Python still holds: it would fail again on the way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
