"""Signing in and out."""

from __future__ import annotations

import asyncio
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tuner.dashboard.access import Forbidden, Member, known, plain, sign_in, sign_out
from tuner.dashboard.config import Right
from tuner.dashboard.routes.parts import TheConfig
from tuner.dashboard.templating import render

router = APIRouter()

# A person who mistypes does not notice; a token is too long to be guessed at any pace.
_PAUSE_S = 0.5


@router.get("/sign-in")
def form(request: Request, config: TheConfig, next: str = "/") -> Response:
    """The form, for whoever is not known yet."""
    if known(request):
        return RedirectResponse(_own(next), 303)
    if config.right is Right.READ and not config.sign_in.asked:
        raise Forbidden("this dashboard only reads, for whoever is on its machine: there is nothing to sign in for")
    return _form(request, config, next, "")


@router.post("/sign-in")
async def enter(
    request: Request,
    config: TheConfig,
    name: Annotated[str, Form()] = "",
    token: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Open a session."""
    if not plain(name):
        return _form(request, config, next, "say who you are: the name is kept with what you decide", 422)
    if not sign_in(request, name, token):
        await asyncio.sleep(_PAUSE_S)
        return _form(request, config, next, "this is not the token", 403)
    return RedirectResponse(_own(next), 303)


@router.post("/sign-out")
async def leave(request: Request, _who: Member) -> Response:
    """Close the session."""
    sign_out(request)
    return RedirectResponse("/", 303)


def _form(request: Request, config: TheConfig, next: str, complaint: str, status: int = 200) -> HTMLResponse:
    shown = render("sign_in.html", request, next=_own(next), complaint=complaint, by_token=bool(config.sign_in.token))
    return HTMLResponse(shown, status)


def _own(address: str) -> str:
    """A page of ours, and never another site's, whatever a link says."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    own = not parts.scheme and not parts.netloc and address.startswith("/") and "\\" not in address
    return address if own and not address.startswith("//") else "/"
