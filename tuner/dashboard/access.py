"""Who asks, and may they: sessions, tokens, names from a proxy, and the proof that a change was meant.

Whoever signs in has a session: a signed cookie with a name, that no other site's pages can send (SameSite=Strict).
A change needs more: the session's own secret in the form (CSRF), and an Origin, where the browser names one, that is
the dashboard's. A program sends the token itself, which no page of another site has.
"""

from __future__ import annotations

import hmac
import secrets
import time
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request

from tuner.dashboard.config import Config, Right

SESSION_S = 12 * 3600
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
#: The least a page of another site could do is ask; these methods change nothing.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_NAME = 80
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class NotSignedIn(Exception):
    """Nobody knows who asks; a page sends people to sign in, the API answers 401."""


class Forbidden(Exception):
    """They may not; the message says why."""


@dataclass(frozen=True)
class Visitor:
    """Who asks. `name` is empty for somebody unknown, where reading is open. `csrf` is the secret of their forms.

    `vouched`: a trusted proxy says that it is they; else it is they who say so, and know the token.
    """

    name: str
    right: Right
    csrf: str = ""
    by_token: bool = False  # sent with the request, by a program
    vouched: bool = False

    @property
    def known(self) -> bool:
        """Whether they have signed in."""
        return bool(self.name)


class Ended:
    """Sessions that were signed out: a copy of such a session's cookie, which is good for hours yet, opens nothing.

    They are forgotten when the dashboard ends, and their cookies are not: only another token ends those for good.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # by the session's secret: when its last cookie ends

    def add(self, session: Mapping[str, Any]) -> None:
        """Remember one that ends now."""
        if "csrf" not in session:  # a program's, which has none
            return
        now = time.monotonic()
        self._until = {secret: until for secret, until in self._until.items() if until > now}
        self._until[session["csrf"]] = now + SESSION_S

    def __contains__(self, session: Mapping[str, Any]) -> bool:
        return session.get("csrf") in self._until


def session_options(config: Config) -> dict[str, Any]:
    """How sessions are kept. The key hangs on the token: another token ends all sessions, a restart does not."""
    token = config.sign_in.token
    key = hmac.new(token.encode(), b"tuner session", sha256).hexdigest() if token else secrets.token_hex(32)
    return {
        "secret_key": key,
        "session_cookie": f"tuner_session_{sha256(key.encode()).hexdigest()[:8]}",  # each dashboard has its own
        "max_age": SESSION_S,
        "same_site": "strict",
        "https_only": config.secure,
    }


def sign_in(request: Request, name: str, token: str) -> bool:
    """Open a session for whoever knows the token."""
    config: Config = request.app.state.config
    name = plain(name)
    if not name or not _same(token, config.sign_in.token):
        return False
    request.session.clear()
    request.session["name"] = name
    request.session["csrf"] = secrets.token_urlsafe(24)
    return True


def sign_out(request: Request) -> None:
    """Close the session, wherever else its cookie is."""
    request.app.state.ended.add(request.session)
    request.session.clear()


def visitor(request: Request) -> Visitor:
    """Who asks. Raises NotSignedIn where pages are not open to everybody."""
    config: Config = request.app.state.config
    found = known(request)
    if found is not None:
        return found
    if config.sign_in.asked:
        raise NotSignedIn
    return Visitor("", Right.READ)


def known(request: Request) -> Visitor | None:
    """Who asks, by whatever the request shows of them; None where that is nothing that counts."""
    config: Config = request.app.state.config
    return _by_token(request, config) or _by_proxy(request, config) or _by_session(request, config)


Asking = Annotated[Visitor, Depends(visitor)]


def _with(right: Right) -> Callable[[Request, Visitor], Awaitable[Visitor]]:
    async def allowed(request: Request, who: Asking) -> Visitor:
        if not who.known:
            raise NotSignedIn
        if who.right < right:
            raise Forbidden(f"this dashboard was not started with --allow {right.name.lower()}")
        if request.method not in _SAFE and not who.by_token:
            await _meant(request, who)
        return who

    return allowed


#: Who asks, when they are known, have the right, and meant to change what the request changes. A route that has none of
#: these changes nothing.
Member = Annotated[Visitor, Depends(_with(Right.READ))]
Reviewer = Annotated[Visitor, Depends(_with(Right.REVIEW))]
Operator = Annotated[Visitor, Depends(_with(Right.APPLY))]


async def _meant(request: Request, who: Visitor) -> None:
    if not _from_here(request):
        raise Forbidden("the form came from another site")
    sent = request.headers.get(CSRF_HEADER) or (await request.form()).get(CSRF_FIELD)
    if not who.csrf or not isinstance(sent, str) or not _same(sent, who.csrf):
        raise Forbidden("the form is too old; load the page again")


def _from_here(request: Request) -> bool:
    """Whether a page of ours sent it, as far as the browser says; a proxy may have another name for us than people."""
    config: Config = request.app.state.config
    origin = request.headers.get("origin")
    if origin is not None:
        try:
            here = urlsplit(origin)
        except ValueError:
            return False
        if here.netloc != request.headers.get("host") and (here.hostname or "") not in (config.hosts or ()):
            return False
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _by_token(request: Request, config: Config) -> Visitor | None:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not _same(token.strip(), config.sign_in.token):
        return None
    name = _name(request.headers.get("x-tuner-user", ""))
    return Visitor(name or "the token's owner", config.right, by_token=True)


def _by_proxy(request: Request, config: Config) -> Visitor | None:
    header = config.sign_in.header
    named = request.headers.getlist(header) if header else []
    name = _name(named[0]) if len(named) == 1 else ""  # of two, one is somebody else's than the proxy's
    if not name or not config.sign_in.from_proxy(request.client.host if request.client else None):
        return None
    if request.session.get("name") != name:  # another person in the same browser
        request.session.clear()
        request.session.update(name=name, csrf=secrets.token_urlsafe(24), proxy=True)
    return Visitor(name, config.right, request.session["csrf"], vouched=True)


def _by_session(request: Request, config: Config) -> Visitor | None:
    session = request.session
    if not session.get("name") or session.get("proxy"):  # a proxy is asked each time
        return None
    if session in request.app.state.ended:
        session.clear()
        return None
    return Visitor(session["name"], config.right, session["csrf"])


def _name(header: str) -> str:
    """A name from a header, whose bytes are UTF-8 by custom and Latin-1 by the letter."""
    return plain(header.encode("latin-1", "replace").decode("utf-8", "replace"))


def plain(text: str) -> str:
    """A name on one line, of a length that fits, and without what would turn the text around it."""
    return " ".join(visible(text).split())[:_LONGEST_NAME]


def visible(text: str) -> str:
    """Text without control and formatting characters, which could make a page say something else; lines stay lines."""
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in _UNSEEN)


def _same(given: str, expected: str | None) -> bool:
    return expected is not None and hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
