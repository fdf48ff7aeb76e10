"""The application: pages, API and files, put together from how the dashboard was started."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from threading import Event
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from tuner import __version__
from tuner.core.errors import InvalidInput, Refused, TunerError
from tuner.dashboard.access import Ended, Forbidden, NotSignedIn, session_options
from tuner.dashboard.changes import Changes
from tuner.dashboard.config import Config
from tuner.dashboard.headers import KnownHosts, SecureHeaders, SmallBodies
from tuner.dashboard.live import OVER, Live
from tuner.dashboard.reading import Reading
from tuner.dashboard.rivals import Rivals
from tuner.dashboard.routes import api, comparison, health, plan, review, signing, studies, study, trial
from tuner.dashboard.templating import STATIC, prepare, render
from tuner.store import Store, StoreError, Unknown

_LOG = logging.getLogger(__name__)
_SMALLEST_ZIPPED = 1024


def create_app(config: Config, store: Store) -> FastAPI:
    """The application over an open store, which is the caller's to close."""
    app = _App(
        title="tuner",
        version=__version__,
        summary="Studies of LLM engine settings: what was found, how sure it is, and what it would change.",
        docs_url=None,  # its page loads scripts from elsewhere; the document itself is at openapi_url
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=_lifespan,
    )
    prepare()
    app.state.config = config
    app.state.reading = Reading(store)
    app.state.ended = Ended()
    app.state.live = Live(app.state.reading)
    app.state.rivals = Rivals()
    app.state.planning = asyncio.Lock()
    app.state.changes = Changes(store, config.cluster)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for routes in (studies, study, trial, comparison, plan, review, signing, health):
        app.include_router(routes.router, include_in_schema=False)
    app.include_router(api.router)
    _name_errors(app)
    app.add_middleware(SessionMiddleware, **session_options(config))
    app.add_middleware(SmallBodies)
    app.add_middleware(GZipMiddleware, minimum_size=_SMALLEST_ZIPPED)
    if config.hosts is not None:
        app.add_middleware(KnownHosts, hosts=config.hosts)
    return app


class _App(FastAPI):
    """An application whose every answer has the headers, those that are made where something broke included."""

    def build_middleware_stack(self) -> ASGIApp:
        return SecureHeaders(super().build_middleware_stack())


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    over = Event()
    reading_ahead = asyncio.create_task(asyncio.to_thread(_read_ahead, app.state.reading, over))
    yield
    over.set()
    await app.state.changes.close()
    await reading_ahead


def _read_ahead(reading: Reading, over: Event) -> None:
    """Have the newest studies in memory before anybody asks for one."""
    try:
        for _ in reading.each():
            if over.is_set():
                return
    except Exception:  # whoever asks is told
        _LOG.warning("what is in the database could not be read ahead", exc_info=True)


def _name_errors(app: FastAPI) -> None:
    """Every error has a page, or for a program JSON of one shape: {"detail": "..."}."""

    async def not_signed_in(request: Request, _error: Exception) -> Response:
        if request.url.path.endswith("/live"):  # the page that followed loads itself again, and leads to the form
            return Response(OVER, media_type="text/event-stream")
        if _is_api(request) or request.method != "GET":
            return _failed(request, 401, "sign in first", await _written(request))
        return RedirectResponse(f"/sign-in?next={_path(request)}", 303)

    async def forbidden(request: Request, error: Exception) -> Response:
        return _failed(request, 403, str(error), await _written(request))

    async def unknown(request: Request, error: Exception) -> Response:
        return _failed(request, 404, str(error))

    async def failed(request: Request, error: Exception) -> Response:
        return _failed(request, _status(error), str(error), await _written(request))

    async def broken(request: Request, _error: Exception) -> Response:
        return _failed(request, 500, "something is wrong here; the dashboard's own output says what")

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _failed(request, error.status_code, str(error.detail))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _failed(request, 422, "; ".join(_complaint(one) for one in error.errors()))

    app.add_exception_handler(NotSignedIn, not_signed_in)
    app.add_exception_handler(Forbidden, forbidden)
    app.add_exception_handler(Unknown, unknown)
    app.add_exception_handler(TunerError, failed)
    app.add_exception_handler(Exception, broken)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


def _status(error: Exception) -> int:
    if isinstance(error, InvalidInput):
        return 422
    if isinstance(error, Refused):
        return 409
    return 503 if isinstance(error, StoreError) else 502


async def _written(request: Request) -> str:
    """The comment that somebody wrote into the form that was sent, so that it is not lost with it."""
    if _is_api(request) or request.method != "POST":
        return ""
    comment = (await request.form()).get("comment")
    return comment if isinstance(comment, str) else ""


def _failed(request: Request, status: int, detail: str, written: str = "") -> Response:
    if _is_api(request):
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        return JSONResponse({"detail": detail}, status, headers)
    page = render("error.html", request, status=status, detail=detail, written=written, back=_back(request))
    return HTMLResponse(page, status)


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")


def _back(request: Request) -> str:
    """The study's page, for what is a part of it or was done on it."""
    found = re.match(r"/studies/\d+(?=/)", request.url.path)
    return found[0] if found else ""


def _path(request: Request) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return quote(f"{request.url.path}{query}", safe="")


def _complaint(error: dict[str, Any]) -> str:
    where: Sequence[Any] = error.get("loc", ())
    return f"{'.'.join(str(part) for part in where[1:])}: {error.get('msg')}"
