"""Greedy completions with log-probabilities, for the output check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.request import GreedyOutput

_TIMEOUT_S = 120.0


async def greedy_output(client: httpx.AsyncClient, path: str, body: Mapping[str, object]) -> GreedyOutput:
    """What the server writes at temperature 0 for one request body.

    Raises TrialFailed: crash-under-load where there is no answer, probe-error where it has no log-probabilities.
    """
    chat = path.endswith("/chat/completions")
    sampling = {"temperature": 0.0, "ignore_eos": True, "logprobs": True if chat else 1, "seed": 0}
    try:
        response = await client.post(path, json={**body, **sampling}, timeout=_TIMEOUT_S)
    except httpx.HTTPError as error:
        raise TrialFailed(
            Failure(
                Cause.CRASH_UNDER_LOAD, "the engine did not answer the output check", f"{type(error).__name__} {error}"
            )
        ) from error
    if response.status_code != 200:
        cause = Cause.CRASH_UNDER_LOAD if response.status_code >= 500 else Cause.PROBE_ERROR
        message = f"the output check was answered with HTTP {response.status_code}"
        raise TrialFailed(Failure(cause, message, response.text[:500]))
    try:
        choice = response.json()["choices"][0]
        return _from_chat(choice) if chat else _from_completion(choice)
    except (ValueError, LookupError, TypeError) as error:
        raise TrialFailed(
            Failure(
                Cause.PROBE_ERROR,
                "the server's answer to the output check has no log-probabilities",
                response.text[:500],
            )
        ) from error


def _from_completion(choice: dict[str, Any]) -> GreedyOutput:
    logprobs = choice["logprobs"]
    return GreedyOutput(tuple(map(str, logprobs["tokens"])), float(logprobs["token_logprobs"][0]))


def _from_chat(choice: dict[str, Any]) -> GreedyOutput:
    content = choice["logprobs"]["content"]
    return GreedyOutput(tuple(str(part["token"]) for part in content), float(content[0]["logprob"]))
