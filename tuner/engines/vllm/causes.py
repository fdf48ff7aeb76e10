"""Why vLLM failed, told from its log and its exit. The last line of a log is never the cause."""

from __future__ import annotations

import re

from tuner.core.cause import Cause, Failure
from tuner.core.redact import redact
from tuner.engines.engine import Exit
from tuner.engines.vllm import log as logs
from tuner.engines.vllm.signatures import SIGNATURES, Finding

_LOG_TAIL = 400_000  # characters: what a crash leaves fits many times over
_QUOTE = 400
_SERIOUS = ("", "ERROR", "CRITICAL")

_EXCEPTION = re.compile(
    r"^\s*(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]\w{0,60}(?:Error|Exception|Interrupt|Timeout|Exit)\b(?::.*)?$", re.ASCII
)
#: Exceptions that only pass on what happened elsewhere.
_WRAPPER = re.compile(
    r"Engine core initialization failed|EngineCore encountered an issue|EngineDeadError|Worker failed with error"
    r"|: cancelled$|CancelledError|KeyboardInterrupt|SystemExit|WorkerProc initialization failed"
    r"|initialization failed due to an exception in a background process",
    re.ASCII,
)

_NOT_YET_FREE = re.compile(r"Free memory on device .{0,80} on startup is less than desired")
#: Where a process of the engine says that it failed: its traceback follows.
_FAILED = re.compile(
    r"(?:EngineCore|WorkerProc)[^\n]{0,40}(?:failed to start|hit an exception|encountered a fatal error)"
)


def diagnose(log: str, exit_: Exit, under_load: bool) -> Failure:
    """See Engine.diagnose.

    The platform's word for an out-of-memory kill is believed before the log, whatever the exit code says: a server
    whose engine process was killed can end with exit code 0. What an engine said before it served did not end it, and
    what it answers to clients while it serves is not about its flags.
    """
    log = log[-_LOG_TAIL:]
    under_load = under_load or logs.STARTED in log
    log = log[max(0, log.find(logs.STARTED)) :]
    if exit_.reason == "OOMKilled":
        return Failure(
            Cause.HOST_OOM,
            f"the container was killed for exceeding its memory limit {'while serving' if under_load else 'at start'}",
            _tail(log),
        )
    text = _errors(log)
    for signature in SIGNATURES:
        match = signature.pattern.search(text) if signature.serving or not under_load else None
        if match is not None:
            return _failure(signature.find(match, text), text, match.start(), under_load)
    return _killed(log, text, exit_, under_load) or _other(log, text, exit_, under_load)


def may_pass(log: str) -> bool:
    """See Engine.may_pass."""
    return _NOT_YET_FREE.search(log) is not None


def _errors(log: str) -> str:
    """The log without prefixes and without lines that are no errors: warnings speak of much that does no harm."""
    split = (logs.split_prefix(line) for line in log.splitlines())
    return "\n".join(text for level, text in split if level in _SERIOUS)


def _failure(finding: Finding, text: str, position: int, under_load: bool) -> Failure:
    cause = finding.cause
    if cause is Cause.GPU_OOM_AT_START and under_load:
        cause = Cause.GPU_OOM_UNDER_LOAD
    quote = _clip(redact(finding.quote.strip()), _QUOTE)
    return Failure(
        cause,
        f"{finding.say}: {quote}" if finding.say else quote,
        _around(text, position),
        overshoot=finding.overshoot,
        hint=finding.hint,
    )


def _killed(log: str, text: str, exit_: Exit, under_load: bool) -> Failure | None:
    """Killed without a word of its own: only the survivors' obituaries tell."""
    killed = re.search(r"Failed core proc\(s\): \{[^}\n]{0,200}: -9\b.*$", text, re.MULTILINE)
    if killed:
        message = "the engine process was killed (SIGKILL), most likely by the kernel for want of host memory"
        return Failure(Cause.HOST_OOM, message, _around(text, killed.start()))
    crash = Cause.CRASH_UNDER_LOAD if under_load else Cause.CRASH_AT_START
    died = re.search(r"^.{0,200}Worker proc \S+ died unexpectedly.*$", text, re.MULTILINE)
    if died and _first_exception(text) is None:
        message = (
            f"a worker died without a word, as when the kernel kills it for memory: {_clip(died[0].strip(), _QUOTE)}"
        )
        return Failure(crash, redact(message), _around(text, died.start()))
    if exit_.code in (137, -9) and _first_exception(text) is None:
        return Failure(crash, "the container was killed (SIGKILL), not for its memory limit", _tail(log))
    return None


def _other(log: str, text: str, exit_: Exit, under_load: bool) -> Failure:
    crash = Cause.CRASH_UNDER_LOAD if under_load else Cause.CRASH_AT_START
    gone = re.search(r"engine core exited unexpectedly|EngineDeadError|EngineCore encountered an issue", text)
    # Where the engine's process left without a word, the exceptions in the log are the server's, about requests.
    line = _first_exception(log) if gone is None or _FAILED.search(log) else None
    if line is not None:
        return Failure(crash, _clip(redact(line.strip()), _QUOTE), _around(text, max(text.find(line), 0)))
    if gone:
        return Failure(crash, "the engine process died while the server ran", _around(text, gone.start()))
    if under_load or (exit_.code not in (0, None)):
        return Failure(crash, f"the engine ended with exit code {exit_.code} and left no reason", _tail(log))
    return Failure(Cause.UNKNOWN, f"no known cause in the log (exit code {exit_.code}{_said(exit_)})", _tail(log))


def _said(exit_: Exit) -> str:
    return f", {exit_.reason}" if exit_.reason else ""


def _first_exception(log: str) -> str | None:
    """The first exception that is not a wrapper, from where the engine says that it failed; warnings do not count."""
    failed = _FAILED.search(log)
    for part in (log[failed.start() :], log) if failed else (log,):
        for line in part.splitlines():
            level, text = logs.split_prefix(line)
            if level in _SERIOUS and _EXCEPTION.match(text) and not _WRAPPER.search(text):
                return text
    return None


def _around(text: str, position: int) -> str:
    """The lines about a position, decisive one included, redacted."""
    before, after = text[:position].splitlines(), text[position:].splitlines()
    if before and not text[:position].endswith("\n") and after:
        after[0] = before.pop() + after[0]
    return _clip(redact("\n".join(before[-6:] + after[:8])), 4000)


def _tail(text: str) -> str:
    return redact("\n".join(_clip(line, 500) for line in text.splitlines()[-20:]))[-4000:]


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
