"""The measuring instrument: workloads, arrivals, the streaming client, statistics and the capacity search."""

from tuner.probe.capacity import measure
from tuner.probe.job import Job, Limits

__all__ = ["Job", "Limits", "measure"]
