"""What the API server answers when it does not do what it was asked."""

from __future__ import annotations

import json
import re

from tuner.core.errors import Refused, TunerError


class ApiError(TunerError):
    """An answer other than 2xx. `reason` is the server's machine-readable word ("NotFound", "Conflict", ...)."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        self.status = status
        self.message = message
        self.reason = reason
        super().__init__(message)


class NotFound(ApiError):
    """404: no such object, or no such kind of object."""


class Conflict(ApiError):
    """409: the object changed since it was read, or exists already."""


class Invalid(ApiError):
    """400, 422, or a policy's 403: the server understood and does not accept it (validation, unknown fields)."""


class Unreachable(ApiError):
    """No usable answer in time: connection refused, timeouts, 429 and 5xx until patience ended."""


class Forbidden(ApiError, Refused):
    """403: the tuner's account lacks a right; the message names verb and resource."""

    exit_code = Refused.exit_code


class Unauthorised(ApiError, Refused):
    """401: the credentials of the kubeconfig are not (or no longer) accepted."""

    exit_code = Refused.exit_code


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorised,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
}
# Admission policies answer 403 too; an authoriser's answer names the account and what it may not do.
_NO_RIGHT = re.compile(r'\bUser "[^"]*" cannot\b')
_ADVICE = {
    401: " (the kubeconfig's credentials are not accepted, or not any more)",
    403: " (manifests/rbac.yaml grants what tuner needs)",
}


def from_answer(status: int, body: bytes, what: str) -> ApiError:
    """The error that an answer stands for. `what` is the call, e.g. "patch deployments.apps/vllm"."""
    reason, message = "", body.decode(errors="replace").strip()[:500]
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        reason, message = str(parsed.get("reason", "")), str(parsed.get("message", message))
    if status == 403 and message and not _NO_RIGHT.search(message):
        return Invalid(status, f"{what}: {message}", reason)
    kind = _BY_STATUS.get(status, ApiError)
    return kind(status, f"{what}: {message or f'HTTP {status}'}{_ADVICE.get(status, '')}", reason)
