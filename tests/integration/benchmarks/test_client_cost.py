"""The benchmark of load clients runs, and says what it should, in its quick form."""

from __future__ import annotations

import re
import sys

import pytest

from tests.benchmarks import client_cost, ground

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the stub server waits by epoll")


def test_our_client_is_measured_beside_one_that_only_reads_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["tuner", client_cost.CLIENTS[-1].name]

    client_cost.main(["--quick", "--clients", *names])

    printed = capsys.readouterr().out
    for name in names:
        cost, errors = re.findall(rf"^│ {re.escape(name)} +│ ([^│]+)│", printed, re.MULTILINE)
        assert 0 < float(cost.split()[0]) < 1000
        p50_ms, p99_ms = map(float, errors.split("/"))
        # How large they are says more of what else the machine does.
        assert -1 < p50_ms <= p99_ms


def test_the_results_document_has_a_place_for_it() -> None:
    text = ground.DOCUMENT.read_text(encoding="utf-8")

    for name in ("client cost", "client errors"):
        assert text.count(f"<!-- {name}: written by the benchmark -->") == 1
        assert text.count(f"<!-- end of {name} -->") == 1
