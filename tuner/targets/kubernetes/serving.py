"""Whether an engine serves, asked over HTTP: /health, /v1/models, one completion; and its /metrics."""

from __future__ import annotations

import contextlib
import errno
import json
from dataclasses import dataclass

import httpx

from tuner.core.errors import Refused

_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN)


@dataclass(frozen=True)
class Health:
    """One look at /health.

    `answered`: there was an answer, if not the one that was hoped for; `connected`: there was a connection at all;
    `unroutable`: no packet came back, either.
    """

    ok: bool
    problem: str = ""
    answered: bool = False
    connected: bool = True
    unroutable: bool = False


class Serving:
    """HTTP to one engine at `base` (without a trailing slash)."""

    def __init__(self, base: str, api_key: str | None = None, timeout_s: float = 2.0) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # A proxy of the environment never leads to a pod.
        self._http = httpx.AsyncClient(base_url=base, headers=headers, timeout=timeout_s, trust_env=False)
        self.base = base

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def health(self) -> Health:
        """Ask /health once."""
        try:
            answer = await self._http.get("/health")
        except httpx.ConnectTimeout:
            return Health(False, "no connection (timeout)", connected=False, unroutable=True)
        except httpx.ConnectError as error:
            return Health(False, _words(error), connected=False, unroutable=_unroutable(error))
        except httpx.HTTPError as error:
            return Health(False, _words(error))
        ok = answer.status_code == 200
        return Health(ok, "" if ok else f"HTTP {answer.status_code}", answered=True)

    async def model(self) -> str | None:
        """The name under which the engine serves its model; None where it does not say (yet)."""
        try:
            answer = await self._http.get("/v1/models")
        except httpx.HTTPError:
            return None
        _check_key(answer, self.base)
        if answer.status_code != 200:
            return None
        with contextlib.suppress(ValueError, TypeError, AttributeError, LookupError):  # no JSON, or of another shape
            return str(answer.json()["data"][0]["id"])
        return None

    async def version(self) -> str | None:
        """The version that the engine reports; None where it does not."""
        with contextlib.suppress(ValueError, TypeError, LookupError):
            return str(json.loads(await self.text("/version"))["version"])
        return None

    async def complete(self, model: str, timeout_s: float = 60.0) -> str | None:
        """Ask for one token; None where it came, otherwise what came instead."""
        chat = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        try:
            body = {"model": model, "prompt": "Hello", "max_tokens": 1}
            answer = await self._http.post("/v1/completions", json=body, timeout=timeout_s)
            if answer.status_code in (400, 404, 405):
                # Some models serve chat only.
                answer = await self._http.post("/v1/chat/completions", json=chat, timeout=timeout_s)
        except httpx.HTTPError as error:
            return _words(error)
        _check_key(answer, self.base)
        return None if answer.status_code == 200 else f"HTTP {answer.status_code}: {answer.text[:200]}"

    async def text(self, path: str) -> str:
        """The body of a page ("/metrics", "/version"); empty where there is none."""
        try:
            answer = await self._http.get(path, timeout=5.0)
        except httpx.HTTPError:
            return ""
        return answer.text if answer.status_code == 200 else ""


def _check_key(answer: httpx.Response, base: str) -> None:
    if answer.status_code in (401, 403):
        raise Refused(f"the engine at {base} wants an API key (HTTP {answer.status_code}); give it to the tuner")


def _words(error: httpx.HTTPError) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _unroutable(error: httpx.HTTPError) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NO_ROUTE:
            return True
        cause = cause.__cause__ or cause.__context__
    return False
