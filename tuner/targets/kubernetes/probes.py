"""When the kubelet gives up a container that does not answer its probe in time: its status does not say so."""

from __future__ import annotations

from tuner.targets.kubernetes.fields import Object
from tuner.targets.kubernetes.pods import Ended

# How a process ends that was told to stop: in its own good order, or by SIGINT, SIGKILL or SIGTERM.
_STOPPED = frozenset({0, 130, 137, 143})
# Kubernetes' own defaults.
_PERIOD_S, _FAILURES, _GRACE_S = 10, 3, 30
# Times in a status are whole seconds, and the kubelet's own timers are a little late.
_SLACK_S = 5


def impatient(container: Object, grace_s: int | None, run: Ended) -> str | None:
    """The probe that ended a run which never served, and what it allows; None: none did."""
    name = "startupProbe" if "startupProbe" in container else "livenessProbe"
    probe = container.get(name)
    if probe is None or run.ran_s is None or run.code not in _STOPPED:
        return None
    delay, period = probe.get("initialDelaySeconds") or 0, probe.get("periodSeconds") or _PERIOD_S
    failures = probe.get("failureThreshold") or _FAILURES
    grace = next(one for one in (probe.get("terminationGracePeriodSeconds"), grace_s, _GRACE_S) if one is not None)
    allowed = delay + failures * period
    if not delay + (failures - 1) * period - 1 <= run.ran_s <= allowed + grace + _SLACK_S:
        return None
    return f"its {name} allows {allowed} s"
