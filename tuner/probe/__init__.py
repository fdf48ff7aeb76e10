"""The measuring instrument: workloads, arrivals, the streaming client, statistics and the capacity search."""

from tuner.probe.capacity import measure
from tuner.probe.client.driver import HttpDriver, http_driver
from tuner.probe.job import Job, Limits
from tuner.probe.output_check import MAX_TOKENS, PROMPTS, Agreement, compare
from tuner.probe.soak import longest_request, soak

__all__ = [
    "MAX_TOKENS",
    "PROMPTS",
    "Agreement",
    "HttpDriver",
    "Job",
    "Limits",
    "compare",
    "http_driver",
    "longest_request",
    "measure",
    "soak",
]
