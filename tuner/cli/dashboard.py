"""`tuner dashboard`: the web application over the studies in the database."""

from __future__ import annotations

import gzip
import os
import secrets
import socket
from importlib.resources import files
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from tuner.cli import options
from tuner.cli.output import console
from tuner.core.errors import InvalidInput
from tuner.dashboard.config import Config, Right, SignIn
from tuner.store import Store
from tuner.study.cluster import Cluster

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_TOKEN = "TUNER_DASHBOARD_TOKEN"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(dashboard)


def dashboard(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0: any that is free.")] = 8421,
    allow: Annotated[
        str, typer.Option(metavar="RIGHT", help="read, review (approve and reject) or apply (to the live Deployment).")
    ] = "read",
    user_header: Annotated[
        str | None, typer.Option(metavar="NAME", help="Header in which a trusted proxy names who asks.")
    ] = None,
    proxy: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="Whose header is believed. Once for each.")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Name by which people open it; others are refused. Once for each."),
    ] = None,
    secure: Annotated[
        bool, typer.Option("--secure", help="People reach it by HTTPS alone: cookies never travel in the clear.")
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Show a recorded study instead of a database.")] = False,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Where engines are reached. [default: the pod's address]")
    ] = None,
    storage: options.Storage = None,
) -> None:
    """Review studies in a browser: what would change, what it gains, what failed. Reads only, unless allowed more.

    Anything but reading from this machine needs a sign-in: TUNER_DASHBOARD_TOKEN, or a trusted proxy's header.
    """
    right, token = Right.named(allow), (os.environ.get(_TOKEN) or "").strip() or None
    if proxy and user_header is None:
        raise InvalidInput("--proxy: is given without --user-header, which says what it sets")
    made = token is None and user_header is None and right > Right.READ and host in _LOOPBACK
    if made:
        token = secrets.token_urlsafe(24)
    sign_in = SignIn(token, user_header, _networks(proxy or []), asked=not made and bool(token or user_header))
    own = _LOOPBACK_NAMES if host in _LOOPBACK and user_header is None else ()
    if demo and storage and storage != os.environ.get("TUNER_STORAGE"):
        raise InvalidInput("--demo: is given together with --storage; it shows a database of its own")
    from tuner.dashboard.server import tidy_end

    with tidy_end(), TemporaryDirectory() as folder:
        storage = _demo(Path(folder)) if demo else storage
        config = Config(
            right=right,
            sign_in=sign_in,
            hosts=(*own, *(one.lower() for one in name or ())) or None,
            secure=secure,
            cluster=Cluster(kubeconfig, context, endpoint, os.environ.get("TUNER_API_KEY")),
        )
        with options.existing_store(storage, read_only=right is Right.READ) as store:
            _serve(config, store, host, port, f"sign in with this token: {token}" if made else "")


def _serve(config: Config, store: Store, host: str, port: int, more: str) -> None:
    from tuner.dashboard.app import create_app
    from tuner.dashboard.server import serve

    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    console.print(f"the dashboard is at http://{shown}:{listening.getsockname()[1]}/ (Ctrl-C ends it)", highlight=False)
    if more:
        console.print(more, highlight=False)
    serve(create_app(config, store), listening)


def _listen(host: str, port: int) -> socket.socket:
    """A port that is open before anything is said of it. Raises InvalidInput where that can't be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InvalidInput(f"--host {host} --port {port}: can't listen there: {error.strerror or error}") from None


def _networks(texts: list[str]) -> tuple[Any, ...]:
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise InvalidInput(f"--proxy: {error}; allowed: an address or a network, e.g. 10.0.0.0/8") from None


def _demo(folder: Path) -> str:
    """The recorded study, as a database of its own with the newest tables."""
    path = folder / "demo.db"
    path.write_bytes(gzip.decompress((files("tuner.dashboard") / "demo.db.gz").read_bytes()))
    url = f"sqlite:///{path}"
    Store.open(url).close()
    return url
