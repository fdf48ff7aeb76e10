"""`tuner`: the commands, and how errors end them.

Exit codes: 0 done (also when the answer is "no change"), 1 failed, 2 bad input, 3 refused because it would not be safe,
130 / 143 / 129 stopped by Ctrl-C / SIGTERM / SIGHUP after everything was put back.
"""

from __future__ import annotations

import sys

import typer

from tuner import __version__
from tuner.cli import apply, doctor, engine_sim, export, plan, restore, show, start, studies
from tuner.cli.output import errors
from tuner.core.errors import TunerError

app = typer.Typer(
    name="tuner",
    help="Finds the engine settings that serve the most within the latency you promised, on a live LLM Deployment, "
    "and leaves the Deployment as it was unless told to keep the winner.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (doctor, start, studies, show, export, apply, restore, plan, engine_sim):
    command.add_to(app)


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
    try:
        app()
    except TunerError as error:
        problems = str(error).splitlines() or [type(error).__name__]
        for line in problems:
            errors.print(f"tuner: {line}", highlight=False, markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
