"""`kubectl rollout undo` brings annotations of the past back: an original that is out of force reverts nothing."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.targets.conftest import STUDY, candidate, start
from tests.integration.targets.test_safety import killed
from tests.support.apiserver import until
from tests.support.bench import Bench
from tuner.core.knob import Candidate
from tuner.targets.kubernetes import restore_deployment
from tuner.targets.kubernetes.client import Client, Retry
from tuner.targets.kubernetes.deployment import KubernetesTarget
from tuner.targets.kubernetes.errors import ApiError
from tuner.targets.kubernetes.fields import ORIGINAL
from tuner.targets.kubernetes.restore import settle
from tuner.targets.kubernetes.snapshot import stored

WINNER = Candidate.of(max_num_seqs=128)


async def keep(target: KubernetesTarget) -> None:
    await target.inspect()
    await target.keep(WINNER, STUDY, 10.0, lambda _: None)
    await target.release()


async def test_no_replicaset_remembers_a_study_that_has_ended(bench: Bench, target: KubernetesTarget) -> None:
    await start(target, candidate())
    await until(lambda: bench.copies)
    await target.restore()
    assert not bench.copies


async def test_no_replicaset_remembers_how_a_winner_was_applied(bench: Bench, make_target: Callable[..., Any]) -> None:
    await keep(await make_target(acquire=False))
    assert not bench.copies


async def test_a_copy_that_an_undo_brings_back_reverts_no_winner_and_stops_no_study(
    bench: Bench, make_target: Callable[..., Any], client: Client
) -> None:
    bench.server.denied = {("patch", "replicasets")}
    await keep(await make_target(acquire=False))
    (kept,) = bench.copies
    spec = copy.deepcopy(bench.deployment["spec"])
    bench.undo(kept)
    assert ORIGINAL in bench.deployment["metadata"]["annotations"]
    info = await (await make_target(study="study-2", acquire=False)).inspect()
    assert info.baseline == WINNER
    report = await restore_deployment(client, "ns", "llm")
    assert not report.found
    assert "old copy" in str(report)
    assert bench.deployment["spec"] == spec
    assert ORIGINAL not in bench.deployment["metadata"].get("annotations", {})


async def test_a_study_may_begin_where_an_old_copy_is(bench: Bench, make_target: Callable[..., Any]) -> None:
    bench.server.denied = {("patch", "replicasets")}
    await keep(await make_target(acquire=False))
    before = bench.picture()
    bench.undo(bench.copies[0])
    target = await make_target(study="study-2")
    await start(target, candidate())
    await target.restore()
    assert bench.picture() == before


async def test_a_study_that_was_killed_and_then_undone_by_hand_is_restored(
    bench: Bench, target: KubernetesTarget, client: Client
) -> None:
    before = bench.picture()
    (original,) = bench.server.all("replicasets")
    await start(target, candidate())
    await killed(target)
    await until(lambda: bench.copies)
    bench.undo(original)
    assert stored(bench.deployment) is None
    assert bench.deployment["spec"]["strategy"]["type"] == "Recreate"
    assert (await restore_deployment(client, "ns", "llm")).study == STUDY
    assert bench.picture() == before


async def test_copies_left_by_a_kill_are_taken_off_by_the_next_restore(
    bench: Bench, target: KubernetesTarget, client: Client
) -> None:
    await start(target, candidate())
    bench.server.denied = {("patch", "replicasets")}
    await target.restore()
    assert bench.copies
    bench.server.denied = set()
    report = await restore_deployment(client, "ns", "llm")
    assert not report.found
    assert not bench.copies


@pytest.mark.parametrize("writes", [1, 2, 3])
async def test_a_winner_stays_wherever_its_last_writes_are_killed(
    bench: Bench, target: KubernetesTarget, client: Client, writes: int
) -> None:
    """The writes: that the settings stay; the deadline; the strategy; the annotation's removal."""
    before = copy.deepcopy(bench.deployment["spec"])
    await start(target, candidate())
    await killed(target)
    kept = ("args", "command", "gpus")
    bench.cut_off(writes)
    client.retry = Retry(patience_s=0.2)
    with contextlib.suppress(ApiError):
        await settle(client, "ns", "llm", kept, patience_s=0.2)
    assert stored(bench.deployment) is not None
    bench.server.before_patch.clear()
    report = await restore_deployment(client, "ns", "llm")
    assert "args, command: the winner that was applied stays" in str(report)
    assert "--max-num-seqs=32" in bench.args
    before["template"]["spec"]["containers"][0]["args"] = bench.args
    assert bench.deployment["spec"] == before
    assert stored(bench.deployment) is None
