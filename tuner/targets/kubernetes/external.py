"""Whether somebody else changed what runs, and who."""

from __future__ import annotations

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.targets.kubernetes.fields import Object

# What decides which pods run. Others may label and annotate as they like.
_WATCHED = ("template", "strategy", "replicas", "paused")


def fail_if_changed(ours: Object, live: Object | None, when: str = "during the trial") -> None:
    """Raise TrialFailed where `live` is not what runs as in `ours`, an earlier answer; None: it was deleted."""
    if live is None or live["metadata"]["uid"] != ours["metadata"]["uid"]:
        raise TrialFailed(Failure(Cause.EXTERNAL_CHANGE, f"the Deployment was deleted {when}"))
    changed = [key for key in _WATCHED if live["spec"].get(key) != ours["spec"].get(key)]
    if changed:
        writers = ", ".join(sorted(_writers(ours, live))) or "unknown"
        parts = ", ".join(f"spec.{key}" for key in changed)
        raise TrialFailed(Failure(Cause.EXTERNAL_CHANGE, f"{parts} changed {when} (by: {writers})"))


def _writers(ours: Object, live: Object) -> set[str]:
    before = {(e.get("manager"), e.get("time")) for e in ours["metadata"].get("managedFields") or []}
    return {
        str(e.get("manager"))
        for e in live["metadata"].get("managedFields") or []
        if (e.get("manager"), e.get("time")) not in before and "subresource" not in e
    }
