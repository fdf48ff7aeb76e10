"""Seconds from a failure's evidence to the named cause: `python -m tests.benchmarks.cause_latency`.

On a real cluster (the environment of tests/e2e/conftest.py) with the stand-in engine. Counted from the last line that
the ended container wrote; for pods that never ran, from their condition's or their own time, in whole seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Sequence

from tests.benchmarks.ground import publish
from tests.e2e.support import images
from tests.e2e.support.cluster import ROOT, Cluster, find_cluster
from tests.e2e.support.deployment import EXAMPLES, Document, deploy
from tests.e2e.support.failing import CASES, Case, Named, name
from tests.e2e.support.standin import quick

HEADER = ("failure", "cause", "named", "median s", "max s")


def once(cluster: Cluster, image: str, case: Case) -> Named:
    """One failure in a namespace of its own."""

    def edit(deployment: Document) -> None:
        quick(image)(deployment)
        case.edit(deployment)

    with cluster.namespace() as kubectl:
        return asyncio.run(name(case, deploy(kubectl, EXAMPLES / "engine-sim.yaml", {}, edit=edit)))


def rows(cases: Sequence[Case], cluster: Cluster, image: str, runs: int) -> list[list[str]]:
    """One row per failure, and one for all of them that end a container."""
    found, seconds = [], []
    for case in cases:
        named = [once(cluster, image, case) for _ in range(runs)]
        times = [one.after_s for one in named]
        right = sum(one.failure.cause is case.cause for one in named)
        seconds += times if case.evidence == "exit" else []
        found.append([case.name, str(case.cause), f"{right}/{runs}", *_summary(times)])
    return [*found, ["all that end a container", "", "", *_summary(seconds)]]


def _summary(seconds: Sequence[float]) -> list[str]:
    return [f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"]


def main() -> None:
    """Run every failure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3, help="of each failure")
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    options = parser.parse_args()
    cluster = find_cluster()
    image = images.build(cluster, "localhost/tuner-engine-sim:e2e", ROOT, "--target", "engine-sim")
    found = rows(CASES, cluster, image, options.runs)
    publish("cause latency", "Seconds from a failure's evidence to its named cause", HEADER, found, write=options.write)


if __name__ == "__main__":
    main()
