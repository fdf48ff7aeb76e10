"""Measures one started engine by the objective of the study."""

from __future__ import annotations

from tuner.core.measurement import Measurement
from tuner.core.request import Driver
from tuner.probe.job import Job


async def measure(driver: Driver, job: Job) -> Measurement:
    """Measure the engine behind `driver`; raises TrialFailed where it stopped serving or the measurement is void."""
    raise NotImplementedError
