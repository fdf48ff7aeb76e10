"""One tuner at a time: who holds the lease, who may take it over, and what becomes of the one that lost it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.targets.conftest import STUDY, candidate, killed, start
from tests.support.bench import Bench
from tuner.core.errors import Refused
from tuner.targets.kubernetes import restore_deployment
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.deployment import KubernetesTarget


@pytest.mark.usefixtures("target")
async def test_a_second_study_is_refused_and_told_who_holds_the_lease(make_target: Callable[..., Any]) -> None:
    other = await make_target(study="study-2", acquire=False)
    with pytest.raises(Refused, match="being tuned by study-1"):
        await other.acquire("study-2")


async def test_an_expired_lease_is_taken_over(bench: Bench, make_target: Callable[..., Any]) -> None:
    dead = await make_target(study="study-0", lease_s=1)
    await killed(dead)
    await asyncio.sleep(1.1)
    heir = await make_target(lease_s=1)
    await start(heir, candidate())
    (lease,) = bench.server.all("leases")
    assert lease["spec"]["holderIdentity"] == STUDY
    assert lease["spec"]["leaseTransitions"] == 1


async def test_a_lease_that_only_looks_expired_is_not_taken(bench: Bench, make_target: Callable[..., Any]) -> None:
    # The holder's clock is behind: every renewal looks old, but they go on.
    await make_target(study="study-0", lease_s=2)
    other = await make_target(study="study-2", acquire=False, lease_s=4)

    for lease in bench.server.all("leases"):
        lease["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z"
    with pytest.raises(Refused, match="being tuned by study-0"):
        await other.acquire("study-2")


async def test_the_same_study_takes_over_at_once_and_the_earlier_process_stops(
    bench: Bench, make_target: Callable[..., Any]
) -> None:
    first = await make_target(lease_s=1)
    second = await make_target(lease_s=1)
    assert "taken over by study-1" in await asyncio.wait_for(first.lost(), 3)
    with pytest.raises(Refused, match="taken over"):
        await start(first, candidate())
    with pytest.raises(Refused, match="taken over"):
        await first.restore()
    await start(second, candidate())
    assert "--max-num-seqs=32" in bench.args


async def test_a_process_that_slept_does_not_restore_under_the_one_that_took_over(
    bench: Bench, make_target: Callable[..., Any]
) -> None:
    first = await make_target()  # its next renewal is ten seconds away
    await start(first, candidate())
    second = await make_target()
    await start(second, candidate(1024))
    with pytest.raises(Refused, match=r"taken over by study-1.*whoever holds it now restores llm"):
        await first.restore()
    assert "1024" in bench.args
    await second.restore()


async def test_a_study_that_is_restored_from_outside_stops_and_has_nothing_left_to_restore(
    bench: Bench, make_target: Callable[..., Any], client: Client
) -> None:
    running = await make_target(lease_s=1)
    before = bench.picture()
    await start(running, candidate())
    await restore_deployment(client, "ns", "llm")
    assert "was removed" in await asyncio.wait_for(running.lost(), 3)
    with pytest.raises(Refused, match="was removed"):
        await start(running, candidate(seqs=64))
    await running.restore()
    assert bench.picture() == before


async def test_an_outage_longer_than_the_lease_does_not_lose_it(bench: Bench, make_target: Callable[..., Any]) -> None:
    target = await make_target(lease_s=1)
    await bench.server.stop()
    await asyncio.sleep(1.3)
    await bench.server.start()
    await start(target, candidate())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(target.lost(), 0.1)
    await target.restore()


async def test_a_renewal_that_loses_its_race_is_run_again(bench: Bench, target: KubernetesTarget) -> None:
    """As after an outage, when the lease is renewed in time and before a write at once."""
    (lease,) = bench.server.all("leases")
    races = 2

    def race(plural: str, _: str) -> None:
        nonlocal races
        if plural == "leases" and races:
            races -= 1
            bench.server.touch(bench.server.get("leases", "ns", lease["metadata"]["name"]))

    bench.server.before_patch.append(race)
    target._lease._renewed = float("-inf")
    assert (await start(target, candidate())).model == "tiny"
    assert races == 0


async def test_a_released_lease_is_gone(bench: Bench, target: KubernetesTarget) -> None:
    assert bench.server.all("leases")
    await target.release()
    assert not bench.server.all("leases")
