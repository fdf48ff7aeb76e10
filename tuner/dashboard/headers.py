"""What a browser may do with a page: nothing from outside, no script but ours, no frame around it, nothing kept."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_STATIC = "/static/"


class SecureHeaders:
    """Adds the headers to every answer. Browsers keep what belongs to a version of this package, and no page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kept = "public, max-age=31536000, immutable" if scope["path"].startswith(_STATIC) else "no-store"

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if message["status"] < 400 or not scope["path"].startswith(_STATIC):
                    headers["Cache-Control"] = kept
            await send(message)

        await self._app(scope, receive, add)


class KnownHosts:
    """Refuses names that are not the dashboard's own: a page of another site could bend its name to this address."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        # Whoever looks after pods asks them by their address; what it is told is no secret.
        if scope["type"] == "http" and scope["path"] != "/healthz" and _name(scope) not in self._hosts:
            await send({"type": "http.response.start", "status": 421, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"this name is not the dashboard's\n"})
            return
        await self._app(scope, receive, send)


def _name(scope: Scope) -> str:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    if host.startswith("["):
        return host[: host.find("]") + 1].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


class SmallBodies:
    """Refuses bodies that no form of ours has, before anybody keeps them in memory."""

    def __init__(self, app: ASGIApp, most: int = 64 * 1024) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self._most:
                raise HTTPException(413, f"more than {self._most} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)
