"""Which models a server has, by its own list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import httpx

from tuner.core.errors import InvalidInput, TunerError
from tuner.probe.client.control import http_client

_TIMEOUT_S = 10.0
_SHOWN = 10


async def find_model(endpoint: str, headers: Mapping[str, str], named: str | None) -> str:
    """The model to ask for: the one that was named, or the only one that the server at `endpoint` (base URL) lists.

    Raises TunerError where the server does not answer or wants another key, InvalidInput where it has no such
    list, or the model has to be named, or is none of the server's.
    """
    served = await _served(endpoint, headers)
    if named is not None:
        if served and named not in served:
            raise InvalidInput(f"--model: {named!r} is not served at {endpoint}; allowed: {_listed(served)}")
        return named
    if len(served) == 1:
        return served[0]
    if not served:
        raise InvalidInput(
            f"URL: {endpoint} lists no models at /v1/models; allowed: the base URL of an OpenAI-compatible server (of "
            "one without such a list too, with --model NAME)"
        )
    raise InvalidInput(f"--model: missing; {endpoint} serves several, so name one: {_listed(served)}")


async def _served(endpoint: str, headers: Mapping[str, str]) -> tuple[str, ...]:
    """The names; none where the server has no such list."""
    try:
        async with http_client(headers, _TIMEOUT_S) as client:
            answer = await client.get(f"{endpoint}/v1/models")
    except httpx.HTTPError as error:
        raise TunerError(
            f"{endpoint} does not answer: {str(error) or type(error).__name__}; nothing was measured"
        ) from error
    if answer.status_code in (401, 403):
        raise TunerError(
            f"{endpoint} refuses the API key (HTTP {answer.status_code} on /v1/models); the variable TUNER_API_KEY of "
            "tuner's environment has it, or --header 'NAME: VALUE'"
        )
    if answer.status_code >= 500:
        raise TunerError(f"{endpoint} can't serve now: HTTP {answer.status_code} on /v1/models; nothing was measured")
    try:
        return tuple(str(one["id"]) for one in answer.json()["data"])
    except (ValueError, TypeError, LookupError):
        return ()


def _listed(served: Sequence[str]) -> str:
    more = f" and {len(served) - _SHOWN} more" if len(served) > _SHOWN else ""
    return ", ".join(served[:_SHOWN]) + more
