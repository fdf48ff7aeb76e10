"""What will go wrong when a Deployment of an engine is updated: strategy, deadlines, probes, names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuner.podspec import EngineContainer
from tuner.study.doctor.finding import Finding, Severity

_DEADLINE_S = 600  # Kubernetes' own default of progressDeadlineSeconds
_LONGEST_S = 7200  # no start takes longer, whatever a probe allows
# Shortest time that a liveness probe should leave a loading engine, where no startupProbe holds it back.
_LOADING_S = 180


def rollout_findings(
    where: str,
    spec: Mapping[str, Any],
    container: Mapping[str, Any],
    engine: EngineContainer,
    port: int | None,
    services: Iterable[str] = (),
    engine_name: str = "vllm",
) -> list[Finding]:
    """Findings on a Deployment's `spec` around its engine's `container`.

    `port` is where the engine listens (None: unknown), `services` are names of Services in the same namespace.
    """
    found = [
        *_strategy(where, spec, engine.gpu_count),
        *_deadline(where, spec, container),
        *_readiness(where, container, port),
        *_liveness(where, container),
        *_ports(where, container, port),
        *_service_links(where, spec, engine, services, engine_name),
    ]
    return list(found)


def _strategy(where: str, spec: Mapping[str, Any], gpus: int) -> Iterator[Finding]:
    strategy = spec.get("strategy") or {}
    surge, unavailable = _bounds(strategy, int(spec.get("replicas") or 1))
    if strategy.get("type") == "Recreate" or unavailable > 0 or not gpus:
        return
    yield Finding(
        Severity.WARNING,
        where,
        "strategy",
        f"an update starts a new pod (maxSurge {surge}) before it ends an old one (maxUnavailable 0), and so needs "
        f"{gpus} more GPU{'s' if gpus > 1 else ''}: without spare ones it waits for ever. While tuning, tuner sets "
        "Recreate, and puts this back at the end",
        "strategy:\n  type: Recreate",
    )


def _bounds(strategy: Mapping[str, Any], replicas: int) -> tuple[int, int]:
    """maxSurge (rounded up) and maxUnavailable (rounded down) in pods, as Kubernetes resolves them."""
    rolling = strategy.get("rollingUpdate") or {}
    surge = _pods(rolling.get("maxSurge", "25%"), replicas, math.ceil)
    unavailable = _pods(rolling.get("maxUnavailable", "25%"), replicas, math.floor)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _pods(value: Any, replicas: int, rounded: Any) -> int:
    text = str(value)
    if text.endswith("%") and text[:-1].isdigit():
        return int(rounded(int(text[:-1]) * replicas / 100))
    return int(text) if text.isdigit() else 0


def _deadline(where: str, spec: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[Finding]:
    deadline = int(spec.get("progressDeadlineSeconds") or _DEADLINE_S)
    budgets = {name: _budget_s(container.get(name)) for name in ("startupProbe", "readinessProbe")}
    name = "startupProbe" if budgets["startupProbe"] else "readinessProbe"
    budget = budgets[name]
    if budget <= deadline:
        return
    default = "" if spec.get("progressDeadlineSeconds") else ", the default"
    yield Finding(
        Severity.NOTE,
        where,
        "progressDeadlineSeconds",
        f"the {name} allows a start of {budget} s, but a rollout counts as failed after {deadline} s{default}; a slow, "
        "healthy start is then reported as an error. tuner waits by its own --rollout-deadline, not by this one",
        f"progressDeadlineSeconds: {min(math.ceil(budget * 1.2 / 60) * 60, _LONGEST_S)}",
    )


def _budget_s(probe: Any) -> int:
    """The longest time that a probe lets pass before it has failed, in seconds; 0 without one."""
    if not isinstance(probe, Mapping):
        return 0
    failures, period = probe.get("failureThreshold", 3), probe.get("periodSeconds", 10)
    delay = probe.get("initialDelaySeconds", 0)
    return int(delay or 0) + int(failures or 3) * int(period or 10)


def _readiness(where: str, container: Mapping[str, Any], port: int | None) -> Iterator[Finding]:
    probe = container.get("readinessProbe")
    advice = f"readinessProbe:\n  httpGet:\n    path: /health\n    port: {port or 8000}\n  periodSeconds: 5"
    if not probe:
        text = (
            "without a readinessProbe the pod counts as ready as soon as its process runs, minutes before the engine "
            "answers: a Service sends requests into nothing, and a broken update replaces a working pod. tuner asks "
            "the engine itself"
        )
        yield Finding(Severity.WARNING, where, "readinessProbe", text, advice)
    elif isinstance(probe, Mapping) and "tcpSocket" in probe:
        text = "a tcpSocket probe sees an open port, not an engine that answers"
        yield Finding(Severity.NOTE, where, "readinessProbe", text, advice)


def _liveness(where: str, container: Mapping[str, Any]) -> Iterator[Finding]:
    budget = _budget_s(container.get("livenessProbe"))
    if not budget or container.get("startupProbe") or budget >= _LOADING_S:
        return
    text = (
        f"it kills an engine that has not answered {budget} s after its start, which a model may need to load; a "
        "startupProbe holds it back"
    )
    yield Finding(
        Severity.WARNING,
        where,
        "livenessProbe",
        text,
        "startupProbe:\n  httpGet:\n    path: /health\n    port: 8000\n  periodSeconds: 5\n  failureThreshold: 240",
    )


def _ports(where: str, container: Mapping[str, Any], port: int | None) -> Iterator[Finding]:
    names = {entry.get("name"): entry.get("containerPort") for entry in container.get("ports") or []}
    for name in ("readinessProbe", "startupProbe", "livenessProbe"):
        probe = container.get(name) or {}
        asked = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
        number = names.get(asked, asked)
        if port is None or not str(number).isdigit() or int(str(number)) == port:
            continue
        text = f"it asks port {number}, but the engine listens on {port}: the pod never becomes ready, or is killed"
        yield Finding(Severity.WARNING, where, name, text, f"port: {port}")


def _service_links(
    where: str, spec: Mapping[str, Any], engine: EngineContainer, services: Iterable[str], engine_name: str
) -> Iterator[Finding]:
    pod = spec["template"]["spec"]
    variable = f"{engine_name.upper()}_PORT"
    if engine_name not in services or pod.get("enableServiceLinks") is False or variable in engine.env_names:
        return
    text = (
        f"a Service named {engine_name} in the same namespace makes Kubernetes set {variable}=tcp://... in the pod, "
        f"which {engine_name} takes for its own setting and stops"
    )
    yield Finding(
        Severity.WARNING,
        where,
        "Service",
        text,
        "enableServiceLinks: false   # in the pod's spec; or rename the Service",
    )
