"""What the stub sent when, held against what a client told of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.clients.job import Told

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """One stream as the stub logged it, in seconds of CLOCK_MONOTONIC: tokens should have left at `due_s`, and did at
    `sent_s`. A client may know it by any of its `names`."""

    names: tuple[str, ...]
    received_s: float
    due_s: Seconds
    sent_s: Seconds


@dataclass(frozen=True)
class Errors:
    """How far a client's figures are from the truth, in seconds.

    `ttft_s` is told less true, one a request: the client's late reading and whatever lies between its own start of a
    request and the arrival of that request; `scheduled_ttft_s` the same from when the request should have been sent.
    `itl_s` is the absolute error of each gap between tokens, or of the mean gap of each request where the client tells
    no more.
    """

    ttft_s: Seconds
    scheduled_ttft_s: Seconds
    itl_s: Seconds


def read_log(path: Path, interval_s: float) -> list[Served]:
    """What a stub logged, in the order of arrival."""
    streams = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [
        Served(
            tuple(stream["names"]),
            stream["received_ns"] / 1e9,
            stream["due_ns"] / 1e9 + interval_s * np.arange(len(stream["sent_ns"])),
            np.array(stream["sent_ns"]) / 1e9,
        )
        for stream in streams
    ]


def paired(served: Sequence[Served], told: Sequence[Told], tokens: int) -> list[tuple[Served, Told]]:
    """Each stream with its report, in the order of arrival.

    Raises ValueError where a stream was not served or not told to its end: such a run measures nothing.
    """
    reports = {one.name: one for one in told}
    pairs = [(stream, reports[name]) for stream in served for name in stream.names if name in reports]
    if not pairs or len(pairs) != len(reports):
        raise ValueError(f"{len(served)} requests served, {len(told)} told, {len(pairs)} of them the same")
    for stream, report in pairs:
        if len(stream.sent_s) != tokens or len(report.at_s) not in (2, tokens):
            raise ValueError(f"{report.name}: {len(stream.sent_s)} of {tokens} tokens sent, {len(report.at_s)} told")
    return pairs


def errors(pairs: Sequence[tuple[Served, Told]]) -> Errors:
    """The errors of these requests."""
    true_ttft_s = np.array([stream.sent_s[0] - stream.received_s for stream, _ in pairs])
    from_start = np.array([report.at_s[0] - report.start_s for _, report in pairs])
    from_schedule = np.array([report.at_s[0] - _scheduled(report) for _, report in pairs])
    gaps = [
        _gaps(np.array(report.at_s), len(stream.sent_s)) - _gaps(_known(stream, report), len(stream.sent_s))
        for stream, report in pairs
    ]
    return Errors(from_start - true_ttft_s, from_schedule - true_ttft_s, np.abs(np.concatenate(gaps)))


def lateness(pairs: Sequence[tuple[Served, Told]], begin_s: float, end_s: float) -> Seconds:
    """How long after their sending the tokens that left in [begin_s, end_s) of the stub's clock were seen, in seconds.

    The two clocks are laid upon each other where a request was fastest on its way to the stub: what even that one took,
    a fraction of a millisecond, is missing from all.
    """
    offset_s = min(stream.received_s - report.start_s for stream, report in pairs)
    late = []
    for stream, report in pairs:
        sent_s = _known(stream, report)
        inside = (sent_s >= begin_s) & (sent_s < end_s)
        late.append((np.array(report.at_s) + offset_s - sent_s)[inside])
    return np.concatenate(late)


def _scheduled(report: Told) -> float:
    return report.start_s if report.scheduled_s is None else report.scheduled_s


def _known(stream: Served, report: Told) -> Seconds:
    """When the tokens left whose arrivals the client told."""
    return stream.sent_s if len(report.at_s) == len(stream.sent_s) else stream.sent_s[[0, -1]]


def _gaps(at_s: Seconds, tokens: int) -> Seconds:
    gaps: Seconds = np.diff(at_s) if len(at_s) == tokens else np.diff(at_s) / (tokens - 1)
    return gaps
