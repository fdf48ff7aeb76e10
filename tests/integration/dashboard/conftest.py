"""A dashboard over a real study, asked as a browser asks it, without a socket between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest

from tests.support.copies import copy_of
from tests.support.studies import small_study
from tuner.dashboard.app import create_app
from tuner.dashboard.config import Config, Right, SignIn
from tuner.store import Store

TOKEN = "an-example-of-a-token"
HOSTS = ("127.0.0.1", "localhost", "[::1]")
BASE = "http://127.0.0.1:8421"
#: What a page of tuner's own would say of itself.
SAME_SITE = {"origin": BASE, "sec-fetch-site": "same-origin"}

Open = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def study_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with one finished study; see `small_study`."""
    return small_study(tmp_path_factory.mktemp("dashboard"))[0]


@pytest.fixture
def database(study_url: str, tmp_path: Path) -> str:
    """A copy of it, to change."""
    return copy_of(study_url, tmp_path / "copy.db")


@pytest.fixture
def opened(database: str) -> Open:
    """Opens dashboards: `opened(right, sign_in, ...)`."""

    @asynccontextmanager
    async def open_(
        right: Right = Right.READ,
        sign_in: SignIn | None = None,
        hosts: tuple[str, ...] | None = HOSTS,
        peer: str = "127.0.0.1",
    ) -> AsyncIterator[httpx.AsyncClient]:
        config = Config(right, sign_in or SignIn(asked=False), hosts)
        with Store.open(database, read_only=right is Right.READ) as store:
            app = create_app(config, store)
            transport = httpx.ASGITransport(app, client=(peer, 40000))
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                client.app = app  # type: ignore[attr-defined]
                yield client
                await app.state.live.close()
                await app.state.changes.close()

    return open_


@pytest.fixture
async def reading(opened: Open) -> AsyncIterator[httpx.AsyncClient]:
    """One that only reads."""
    async with opened() as client:
        yield client


@pytest.fixture
async def reviewing(opened: Open) -> AsyncIterator[httpx.AsyncClient]:
    """One that lets people review, and somebody who has signed in there."""
    async with opened(Right.REVIEW, SignIn(TOKEN, asked=False)) as client:
        said = await client.post("/sign-in", data={"name": "Ada", "token": TOKEN})
        assert said.status_code == 303
        yield client


def by_proxy(header: str = "X-Forwarded-User", proxy: str = "10.0.0.0/8") -> SignIn:
    """A trusted proxy."""
    return SignIn(header=header, proxies=(ip_network(proxy),))
