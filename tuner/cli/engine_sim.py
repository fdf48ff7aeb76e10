"""`tuner engine-sim`: a simulated vLLM server over real HTTP."""

from __future__ import annotations

import typer

from tuner.standin import serve


def add_to(app: typer.Typer) -> None:
    """Add the command. Its arguments are vLLM's own, so they pass through unread."""
    app.command(
        "engine-sim",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    )(engine_sim)


def engine_sim(context: typer.Context) -> None:
    """Serve a simulated vLLM: OpenAI's API over HTTP with vLLM's own flags, logs, metrics and start-up failures."""
    raise typer.Exit(serve(context.args))
