"""A winner that is kept: it stays, everything else goes back, and where it does not start it is undone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.targets.conftest import candidate
from tests.support.apiserver import ApiServer
from tests.support.bench import Bench
from tests.support.engines import engine
from tuner.core.cause import Cause, TrialFailed
from tuner.core.errors import NotRestored
from tuner.core.knob import Candidate
from tuner.targets.kubernetes.snapshot import stored


async def test_a_kept_winner_stays_and_everything_else_goes_back(bench: Bench, make_target: Callable[..., Any]) -> None:
    before = copy.deepcopy(bench.deployment["spec"])
    bench.server.node.gpus = 1  # a rolling update would wait for a second one for ever
    target = await make_target(acquire=False)
    winner = Candidate.of(max_num_seqs=128)
    await target.inspect()
    assert "+--max-num-seqs=128" in (target.preview(winner) or "").splitlines()
    await target.keep(winner, "study-1", 10.0, lambda _: None)
    await target.release()
    assert bench.args[0] == "--max-num-seqs=128"
    assert stored(bench.deployment) is None
    before["template"]["spec"]["containers"][0]["args"][0] = "--max-num-seqs=128"
    assert bench.deployment["spec"] == before
    assert not bench.server.all("leases")


async def test_a_pod_that_was_evicted_long_ago_ends_no_winner(bench: Bench, make_target: Callable[..., Any]) -> None:
    async def keep() -> None:
        target = await make_target(acquire=False)
        await target.inspect()
        await target.keep(Candidate.of(max_num_seqs=128), "study-1", 10.0, lambda _: None)
        await target.release()

    before = bench.args
    await keep()
    (replicaset,) = [r for r in bench.server.all("replicasets") if r["spec"]["replicas"]]
    bench.change({"spec": {"template": {"spec": {"containers": [{"name": "engine", "args": before}]}}}})
    await bench.ready()
    owner = {"kind": "ReplicaSet", "controller": True, "uid": replicaset["metadata"]["uid"]}
    old = {
        "metadata": {"name": "a-old", "labels": replicaset["metadata"]["labels"], "ownerReferences": [owner]},
        "spec": {"nodeName": "node", "containers": replicaset["spec"]["template"]["spec"]["containers"]},
        "status": {
            "phase": "Failed",
            "reason": "Evicted",
            "message": "The node was low on resource: memory.",
            "containerStatuses": [{"name": "engine", "state": {"terminated": {"exitCode": 137}}}],
        },
    }
    bench.server.put("pods", "ns", old)
    await keep()
    assert "--max-num-seqs=128" in bench.args


async def test_a_winner_that_does_not_start_is_undone(bench: Bench, make_target: Callable[..., Any]) -> None:
    before = bench.picture()
    target = await make_target(acquire=False)
    await target.inspect()
    with pytest.raises(TrialFailed) as caught:
        await target.keep(candidate(2003), "study-1", 10.0, lambda _: None)
    assert caught.value.failure.cause is Cause.GPU_OOM_AT_START
    assert bench.picture() == before
    await bench.ready()


async def test_a_change_that_fails_and_can_not_be_undone_is_told_as_such(
    bench: Bench, make_target: Callable[..., Any]
) -> None:
    target = await make_target(acquire=False)
    await target.inspect()

    def lose_the_right(progress: str) -> None:
        if progress != "changing the Deployment":
            bench.server.denied.add(("patch", "deployments"))

    with pytest.raises(NotRestored, match=r"could not be undone: .*patch"):
        await target.keep(candidate(2003), "study-1", 10.0, lose_the_right)


async def test_what_runs_already_is_no_change(bench: Bench, make_target: Callable[..., Any]) -> None:
    target = await make_target(bench.name, acquire=False)
    await target.inspect()
    assert target.preview(Candidate.of(max_num_seqs=64)) is None


async def test_a_winner_that_changes_only_the_batched_tokens_is_shown_as_it_is(
    server: ApiServer, make_target: Callable[..., Any]
) -> None:
    bench = Bench(server)
    bench.deploy(engine(args=("--max-num-batched-tokens=2048", "--api-key", "sk-secret")))
    target = await make_target(bench.name, acquire=False)
    await target.inspect()
    shown = target.preview(Candidate.of(max_num_seqs=64, max_num_batched_tokens=8192)) or ""
    assert {"---max-num-batched-tokens=2048", "+--max-num-batched-tokens=8192"} <= set(shown.splitlines())
    assert "sk-secret" not in shown
