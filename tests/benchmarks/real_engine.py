"""Whole studies on the real vLLM, on CPU, on a real cluster: `python -m tests.benchmarks.real_engine`.

Two workloads, each tuned by what a study does and by screened random search, with the same budget. The environment is
that of tests/e2e/conftest.py. About 90 minutes on two cores, of which nothing else should use one. Reports of studies
are kept under XDG_CACHE_HOME, so that a run that was stopped goes on with the next study (`--fresh` starts anew).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.ground import publish, remembered
from tests.e2e.support import engine as engines
from tests.e2e.support import images
from tests.e2e.support.cluster import ROOT, find_cluster
from tests.e2e.support.command import Tuner
from tests.e2e.support.deployment import EXAMPLES, deploy
from tests.e2e.support.ownership import assert_untouched

# What is searched, and what it may cost, is the same for both. On CPU block sizes are multiples of 32, of no effect.
_COMMON = """
search:
  sampler: SAMPLER
  knobs:
    max_num_seqs: {low: 4, high: 256}
    max_num_batched_tokens: {low: 32, high: 4096}
    gpu_memory_utilization: drop
    block_size: drop
rollout_deadline: 4min
seed: 1
"""


@dataclass(frozen=True)
class Case:
    """A workload and its promises, as a study of manifests/examples/vllm-cpu.yaml."""

    name: str
    study: str


CASES = (
    Case(
        "capacity: prompt 192, output 48; ttft p95 <= 3s, itl p95 <= 80ms",
        """
workload: {prompt: {mean: 192, cv: 0.5}, output: {mean: 48, cv: 0.5}}
slos: [ttft p95 <= 3s, itl p95 <= 80ms]
objective: {kind: capacity, rate: 5}
budget: {starts: 12, pairs: 4, level: 15s, probe: 90s}
""",
    ),
    Case(
        "throughput of 8 clients: prompt 512, output 16; itl p95 <= 120ms",
        """
workload: {prompt: 512, output: {mean: 16, cv: 0.5}}
slos: [itl p95 <= 120ms]
objective: {kind: throughput, concurrency: 8}
budget: {starts: 12, pairs: 4, level: 20s, probe: 60s}
""",
    ),
)
SAMPLERS = {"tpe": "a study", "random": "screened random"}


def study(case: Case, sampler: str) -> dict[str, Any]:
    """The report of one study in a namespace of its own; the Deployment must be as it was found afterwards."""
    cluster = find_cluster()
    engine = engines.install()
    image = images.build(cluster, "localhost/tuner-e2e-vllm:1", ROOT / "tests" / "e2e" / "vllm")
    with cluster.namespace() as kubectl, tempfile.TemporaryDirectory() as folder:
        deployed = deploy(kubectl, EXAMPLES / "vllm-cpu.yaml", engine.variables(image))
        deployed.wait_until_ready()
        before = deployed.get()
        file = Path(folder) / "study.yaml"
        file.write_text(case.study + _COMMON.replace("SAMPLER", sampler))
        arguments = ("start", "-n", str(kubectl.namespace), "-f", str(file), "--yes", "-o", "json")
        ran = Tuner(cluster.kubeconfig, Path(folder)).run(*arguments, timeout_s=3600).succeeded()
        assert_untouched(before, deployed.get())
    report: dict[str, Any] = json.loads(ran.out)
    return report


def row(case: Case, sampler: str, report: dict[str, Any]) -> list[str]:
    """One study as a line of the table."""
    values = {
        side: [t["value"] for t in report["trials"] if t["kind"] == "confirm" and side in t["reason"]]
        for side in ("baseline", "finalist")
    }
    result = report["result"]
    values = {side: result[f"{side}_values"] or values[side] for side in values}
    failed = sum(trial["cause"] is not None for trial in report["trials"] if trial["outcome"] != "screened")
    return [
        case.name,
        SAMPLERS[sampler],
        _value(values["baseline"]),
        _value(values["finalist"]),
        ", ".join(f"{knob}={value}" for knob, value in (result["finalist"] or {}).items()) or "none",
        report["summary"],
        _gain(result),
        str(report["starts"]),
        str(failed),
        f"{report['gpu_minutes']:.0f}",
    ]


def _gain(result: Mapping[str, Any]) -> str:
    if result["gain"] is None or result["interval"] is None:
        return "-"
    low, high = result["interval"]
    return f"{result['gain']:+.0%} [{low:+.0%}, {high:+.0%}]"


def _value(values: Sequence[float | None]) -> str:
    met = [value for value in values if value is not None]
    return f"{statistics.median(met):.0f} tok/s" if met and len(met) == len(values) else "misses an SLO"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the studies that are not kept yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=int, choices=range(len(CASES)), help="only this workload")
    parser.add_argument("--fresh", action="store_true", help="don't use what earlier runs have kept")
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    options = parser.parse_args(arguments)
    header = [
        "workload",
        "search",
        "default",
        "winner",
        "finalist",
        "answer",
        "gain [95 %]",
        "starts",
        "failed",
        "minutes",
    ]
    rows = []
    for case in CASES if options.case is None else (CASES[options.case],):
        for sampler in SAMPLERS:
            key = f"{case} {_COMMON} {sampler}"
            report = remembered("real", key, lambda: study(case, sampler), options.fresh)  # noqa: B023
            rows.append(row(case, sampler, report))
            print(" | ".join(rows[-1]), file=sys.stderr)
    publish("real engine", "Studies of the real vLLM on CPU", header, rows, write=options.write)


if __name__ == "__main__":
    main()
