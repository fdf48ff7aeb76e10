"""A measurement in short: what a list of many trials shows of each, and a picture of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.core.measurement import Answer, Level, Measurement, SloTest, Statistic
from tuner.core.workload import Load


@dataclass(frozen=True)
class LevelSummary:
    """One level: what was offered, what came of it, and how long it took. `void`: it says nothing of the engine."""

    load: Load
    answer: Answer
    duration_s: float
    void: bool = False


@dataclass(frozen=True)
class Summary:
    """What a measurement came to, without its distributions and time series.

    `value` is the objective's (see `Measurement`); rates, `statistics` and `tests` are those of the level that speaks
    for it, which ran under `load`.
    """

    value: float | None
    load: Load
    answer: Answer
    request_rate: float
    output_token_rate: float
    total_token_rate: float
    statistics: Mapping[str, Statistic]  # by metric, as those of a level
    tests: tuple[SloTest, ...]
    levels: tuple[LevelSummary, ...]

    @classmethod
    def of(cls, measurement: Measurement) -> Summary:
        """In short."""
        level = measurement.level
        return cls(
            value=measurement.value,
            load=level.load,
            answer=level.answer,
            request_rate=level.request_rate,
            output_token_rate=level.output_token_rate,
            total_token_rate=level.total_token_rate,
            statistics=level.statistics,
            tests=level.tests,
            levels=tuple(_brief(one) for one in measurement.levels),
        )


def _brief(level: Level) -> LevelSummary:
    return LevelSummary(level.load, level.answer, level.duration_s, level.saturated or bool(level.foreign))
