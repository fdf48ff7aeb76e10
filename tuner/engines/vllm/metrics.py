"""vLLM's /metrics: Prometheus text under our names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

#: Counters: our name -> vLLM's, newest first; the samples of the first that is there are summed over labels.
_COUNTERS: dict[str, tuple[str, ...]] = {
    "requests": ("vllm:request_success_total",),
    "preemptions": ("vllm:num_preemptions_total",),
    "prefix_queries": ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    "prefix_hits": ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
}
#: Gauges: the largest over labels (one sample per data-parallel engine).
_GAUGES: dict[str, tuple[str, ...]] = {
    "kv_usage": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
}
#: Gauges that count requests: summed over engines, because the probe asks how many there are at all.
_POPULATIONS: dict[str, tuple[str, ...]] = {
    "running": ("vllm:num_requests_running",),
    "waiting": ("vllm:num_requests_waiting",),
}
_CACHE_CONFIG = "vllm:cache_config_info"


@dataclass(frozen=True)
class Sample:
    """One line of Prometheus text."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(text: str) -> Iterator[Sample]:
    """The samples of Prometheus text; lines that are none are passed over."""
    for line in text.splitlines():
        match = _SAMPLE.fullmatch(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        labels = {
            key: re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), raw) for key, raw in _LABEL.findall(match[2] or "")
        }
        yield Sample(match[1], labels, value)


def counters(text: str) -> dict[str, float]:
    """See Engine.counters.

    `requests` counts the requests that the engine served to their end. One that its client gave up is not among them:
    vLLM forgets it, or counts it under a reason of its own.
    """
    by_name: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples(text):
        given_up = sample.labels.get("finished_reason") == "abort"
        if sample.name.startswith("vllm:") and isfinite(sample.value) and not given_up:
            by_name[sample.name].append(sample)
    found: dict[str, float] = {}
    for ours, theirs in (*_COUNTERS.items(), *_POPULATIONS.items()):
        values = _first(by_name, theirs)
        if values:
            found[ours] = sum(values)
    for ours, theirs in _GAUGES.items():
        values = _first(by_name, theirs)
        if values:
            found[ours] = max(values)
    return found


def _first(by_name: Mapping[str, list[Sample]], names: tuple[str, ...]) -> list[float]:
    return next(([sample.value for sample in by_name[name]] for name in names if by_name.get(name)), [])


def cache_config(text: str) -> dict[str, str]:
    """The labels of vllm:cache_config_info: the resolved cache configuration. "None" values are left out."""
    for sample in samples(text):
        if sample.name == _CACHE_CONFIG:
            return {key: value for key, value in sample.labels.items() if value != "None"}
    return {}


def model_name(text: str) -> str | None:
    """The served model's name, as labels tell it."""
    return next(
        (s.labels["model_name"] for s in samples(text) if s.name.startswith("vllm:") and "model_name" in s.labels), None
    )
