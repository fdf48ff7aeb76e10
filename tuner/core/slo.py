"""Service level objectives: a bound with a unit on a statistic, in a small grammar of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from tuner.core.errors import InvalidInput


class Metric(StrEnum):
    """What an SLO can bound. Latencies are in seconds inside tuner; the error rate is a fraction."""

    TTFT = "ttft"
    ITL = "itl"
    TPOT = "tpot"
    E2E = "e2e"
    ERROR_RATE = "error rate"


_STATISTICS = ("mean", "p50", "p90", "p95", "p99", "max")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "%": 0.01, "": 1.0}
_GRAMMAR = re.compile(
    r"^\s*(?P<metric>error\s+rate|[a-z0-9]+)\s*(?P<statistic>mean|max|p\d{1,2})?\s*(?P<relation><=|<|≤|>=|>|=)\s*"
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-z%]*)\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Slo:
    """`metric statistic <= bound`. `bound` is in seconds, or a fraction for the error rate.

    For a percentile pNN the promise reads: at most (100 - NN) % of the requests (for ITL: of the tokens) exceed it.
    """

    metric: Metric
    statistic: str  # mean, p50, p90, p95, p99, max; "rate" for the error rate
    bound: float

    @property
    def allowed_share(self) -> float | None:
        """The share of observations that may exceed the bound; None where the statistic is a mean."""
        if self.metric is Metric.ERROR_RATE:
            return self.bound
        if self.statistic == "max":
            return 0.0
        if self.statistic.startswith("p"):
            return (100 - int(self.statistic[1:])) / 100
        return None

    def __str__(self) -> str:
        if self.metric is Metric.ERROR_RATE:
            return f"error rate <= {self.bound * 100:g}%"
        if self.bound >= 1:
            return f"{self.metric.value} {self.statistic} <= {self.bound:g}s"
        return f"{self.metric.value} {self.statistic} <= {self.bound * 1000:g}ms"


def parse_slo(text: str) -> Slo:
    """Read one SLO, e.g. `ttft p95 <= 500ms` or `error rate <= 0.1%`.

    Raises InvalidInput with what is wrong and what is allowed.
    """
    match = _GRAMMAR.match(text)
    if match is None:
        raise InvalidInput(
            f"{text!r} is not an SLO; write METRIC STATISTIC <= BOUND, e.g. 'ttft p95 <= 500ms' or 'error rate <= 0.1%'"
        )
    name = re.sub(r"\s+", " ", match["metric"].lower())
    if name not in set(Metric):
        raise InvalidInput(f"{text!r}: unknown metric {name!r}; allowed: {', '.join(Metric)}")
    if match["relation"] not in ("<=", "<", "≤"):
        raise InvalidInput(f"{text!r}: an SLO is an upper bound; write '<=' instead of {match['relation']!r}")
    metric, statistic, unit = Metric(name), (match["statistic"] or "").lower(), match["unit"].lower()
    bound = float(match["number"]) * _UNITS.get(unit, 0)
    if metric is Metric.ERROR_RATE:
        return _error_rate(text, statistic, unit, bound)
    if statistic not in _STATISTICS:
        raise InvalidInput(f"{text!r}: {name} needs a statistic; allowed: {', '.join(_STATISTICS)}")
    if unit not in ("us", "ms", "s", "min"):
        raise InvalidInput(f"{text!r}: a latency needs a unit; allowed: us, ms, s, min")
    if bound <= 0:
        raise InvalidInput(f"{text!r}: the bound must be greater than 0")
    return Slo(metric, statistic, bound)


def _error_rate(text: str, statistic: str, unit: str, bound: float) -> Slo:
    if statistic:
        raise InvalidInput(f"{text!r}: the error rate has no statistic; write 'error rate <= 0.1%'")
    if unit not in ("%", ""):
        raise InvalidInput(f"{text!r}: an error rate is a share; allowed units: % or none")
    if not 0 <= bound < 1:
        raise InvalidInput(f"{text!r}: an error rate lies from 0% to under 100%")
    return Slo(Metric.ERROR_RATE, "rate", bound)
