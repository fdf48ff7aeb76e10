"""What must hold when somebody or something interferes: races, edits, kills, outages, a second tuner."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.targets.conftest import STUDY, Bench, candidate, failure, start
from tests.support.apiserver import until
from tests.support.engines import engine
from tuner.core.cause import Cause
from tuner.core.errors import Refused
from tuner.core.knob import Candidate
from tuner.targets.kubernetes import guarded, restore_deployment
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.deployment import KubernetesTarget
from tuner.targets.kubernetes.errors import ApiError, Conflict
from tuner.targets.kubernetes.fields import ORIGINAL
from tuner.targets.kubernetes.snapshot import stored


async def killed(target: KubernetesTarget) -> None:
    """What kill -9 leaves: nothing renewed, nothing restored."""
    assert target._taken is not None
    assert target._taken._task is not None
    target._taken._task.cancel()
    target._taken = None


async def test_the_original_is_kept_in_the_same_write_as_the_first_change(
    bench: Bench, target: KubernetesTarget
) -> None:
    seen: list[tuple[bool, bool]] = []

    def look(*_: Any) -> None:
        seen.append(
            (ORIGINAL in (bench.deployment["metadata"].get("annotations") or {}), "--max-num-seqs=32" in bench.args)
        )

    bench.server.before_patch.append(look)
    await start(target, candidate())
    look()
    # Before the patch neither, after it both: never one without the other.
    assert seen[0] == (False, False)
    assert seen[-1] == (True, True)
    assert all(kept == changed for kept, changed in seen)


async def test_restore_needs_nothing_but_the_annotation(bench: Bench, target: KubernetesTarget, client: Client) -> None:
    before = bench.picture()
    await start(target, candidate())
    await killed(target)
    report = await restore_deployment(client, "ns", "llm")
    assert report.found
    assert report.study == STUDY
    assert bench.picture() == before
    assert not bench.server.all("leases")
    again = await restore_deployment(client, "ns", "llm")
    assert not again.found
    assert bench.picture() == before


@pytest.mark.parametrize("patches", range(4))
async def test_a_restore_killed_after_any_of_its_writes_can_be_run_again(
    bench: Bench, target: KubernetesTarget, client: Client, patches: int
) -> None:
    before = bench.picture()
    await start(target, candidate())
    await killed(target)
    bench.cut_off(patches)
    client.retry = type(client.retry)(patience_s=0.2)
    with contextlib.suppress(ApiError):
        await restore_deployment(client, "ns", "llm", patience_s=0.2)
    assert (stored(bench.deployment) is None) == (patches >= 3)  # it takes three writes
    bench.server.before_patch.clear()
    await restore_deployment(client, "ns", "llm")
    assert bench.picture() == before


async def test_a_resumed_study_sees_the_original_not_what_its_dead_process_left(
    bench: Bench, target: KubernetesTarget, make_target: Callable[..., Any]
) -> None:
    before = bench.picture()
    await start(target, candidate())
    await killed(target)
    resumed = await make_target()
    info = await resumed.inspect()
    assert info.baseline == Candidate.of(max_num_seqs=64)
    await start(resumed, candidate(1024))
    await resumed.restore()
    assert bench.picture() == before
    await start(resumed, candidate(4096))  # without another look: the original is what it is
    await resumed.restore()
    assert bench.picture() == before


async def test_another_study_is_refused_while_one_has_not_restored(
    target: KubernetesTarget, make_target: Callable[..., Any]
) -> None:
    await start(target, candidate())
    await killed(target)
    other = await make_target(study="study-2", acquire=False)
    with pytest.raises(Refused, match=r"study-1 changed it at .*tuner restore -n ns llm"):
        await other.inspect()


async def test_a_lost_race_is_run_again(bench: Bench, target: KubernetesTarget) -> None:
    races = 3

    def race(plural: str, name: str) -> None:
        nonlocal races
        if plural == "deployments" and races:
            races -= 1
            bench.server.touch(bench.server.get(plural, "ns", name))

    bench.server.before_patch.append(race)
    await start(target, candidate())
    assert races == 0


async def test_a_patch_whose_answer_is_lost_is_our_own(bench: Bench, target: KubernetesTarget) -> None:
    before = bench.picture()
    for batched in (4096, 1024):
        bench.server.lost_answers = 1
        assert (await start(target, candidate(batched))).model == "tiny"
        assert str(batched) in bench.args
    bench.server.lost_answers = 1
    await target.restore()
    assert bench.picture() == before


async def test_replicas_changed_between_the_look_and_the_first_change_are_noticed(
    bench: Bench, target: KubernetesTarget
) -> None:
    bench.change({"spec": {"replicas": 2}})
    told = await failure(target, candidate())
    assert told.cause is Cause.EXTERNAL_CHANGE
    assert "spec.replicas changed after the study looked at it (by: kubectl-edit)" in told.message
    assert stored(bench.deployment) is None


async def test_a_race_that_never_ends_is_given_up(
    bench: Bench, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "_PAUSE_S", 0)
    bench.server.before_patch.append(lambda plural, name: bench.server.touch(bench.server.get(plural, "ns", name)))
    with pytest.raises(Conflict):
        await guarded.change(client, "ns", "llm", lambda _: {"spec": {"minReadySeconds": 1}})


def with_args(*args: str) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "engine", "args": list(args)}]}}}}


async def test_a_hand_edit_of_our_field_ends_the_trial_and_is_not_overwritten(
    bench: Bench, target: KubernetesTarget, client: Client
) -> None:
    before = bench.picture()
    trial = asyncio.create_task(failure(target, candidate(2004), 30))
    await until(lambda: "--max-num-seqs=32" in bench.args)
    bench.change(with_args(*bench.args, "--enforce-eager"))
    told = await trial
    assert told.cause is Cause.EXTERNAL_CHANGE
    assert "kubectl-edit" in told.message
    assert (await failure(target, candidate())).cause is Cause.EXTERNAL_CHANGE
    with pytest.raises(Refused, match=r"(?s)--force.*\n\+--enforce-eager"):
        await target.restore()
    assert "--enforce-eager" in bench.args
    report = await restore_deployment(client, "ns", "llm", force=True)
    assert report.overwritten == ("args",)
    assert bench.deployment["spec"] == before["spec"]


async def test_keep_leaves_a_foreign_change_and_restores_the_rest(
    bench: Bench, target: KubernetesTarget, client: Client
) -> None:
    strategy = bench.deployment["spec"]["strategy"]
    await start(target, candidate())
    bench.change(with_args("--max-num-seqs=8"))
    report = await restore_deployment(client, "ns", "llm", keep=True)
    assert report.kept == ("args",)
    assert bench.args == ["--max-num-seqs=8"]
    assert bench.deployment["spec"]["strategy"] == strategy
    assert stored(bench.deployment) is None


async def test_labels_and_replicas_changed_by_others_stay_as_they_made_them(
    bench: Bench, target: KubernetesTarget
) -> None:
    args = bench.args
    await start(target, candidate())
    bench.change({"metadata": {"labels": {"team": "search"}}, "spec": {"replicas": 0}})
    assert (await failure(target, candidate(1024))).cause is Cause.EXTERNAL_CHANGE
    await target.restore()
    assert bench.deployment["metadata"]["labels"] == {"team": "search"}
    assert bench.deployment["spec"]["replicas"] == 0
    assert bench.args == args


async def test_an_apply_that_puts_the_original_back_during_a_trial_is_noticed(
    bench: Bench, target: KubernetesTarget
) -> None:
    original = bench.args
    trial = asyncio.create_task(failure(target, candidate(2004), 30))
    await until(lambda: "--max-num-seqs=32" in bench.args)
    bench.change(with_args(*original), "kubectl-client-side-apply")
    assert (await trial).cause is Cause.EXTERNAL_CHANGE
    await target.restore()
    assert bench.args == original
    assert stored(bench.deployment) is None


async def test_a_deployment_deleted_during_a_trial_is_told(bench: Bench, target: KubernetesTarget) -> None:
    trial = asyncio.create_task(failure(target, candidate(2004), 30))
    await until(lambda: "--max-num-seqs=32" in bench.args)
    bench.server.node.rolls = False
    del bench.server.objects["deployments", "ns", "llm"]
    assert "deleted" in (await trial).message


async def test_an_outage_of_the_api_server_during_a_rollout_is_survived(bench: Bench, target: KubernetesTarget) -> None:
    before = bench.picture()
    trial = asyncio.create_task(start(target, candidate()))
    await until(lambda: "--max-num-seqs=32" in bench.args)
    await bench.server.stop()
    await asyncio.sleep(1.0)
    await bench.server.start()
    assert (await trial).model == "tiny"
    outage = asyncio.create_task(bench.server.stop())
    await outage
    restore = asyncio.create_task(target.restore())
    await asyncio.sleep(0.5)
    await bench.server.start()
    await restore
    assert bench.picture() == before


async def test_what_is_left_in_the_history_does_not_keep_a_restore_from_its_end(
    bench: Bench, target: KubernetesTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ApiError(500, "etcd is slow")

    before = bench.picture()
    await start(target, candidate())
    monkeypatch.setattr(target._client, "delete", broken)
    await target.restore()
    assert bench.picture() == before


async def test_whether_the_engine_serves_again_is_the_deployments_own_word(
    bench: Bench, target: KubernetesTarget
) -> None:
    await start(target, candidate())
    await target.restore()
    assert await target.serves_again(10.0)
    bench.server.node.rolls = False
    bench.change({"spec": {"replicas": 2}})
    assert not await target.serves_again(0.3)


async def test_a_change_that_a_policy_refuses_changes_nothing(
    bench: Bench, target: KubernetesTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bench.picture()
    monkeypatch.setattr("tests.support.apiserver._SPEC_FIELDS", {"replicas"})
    with pytest.raises(Refused, match="nothing was changed"):
        await start(target, candidate())
    assert bench.picture() == before


async def test_a_webhook_that_rewrites_the_flags_is_found_before_anything_changes(
    bench: Bench, target: KubernetesTarget
) -> None:
    def append(deployment: Any) -> None:
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        if "--injected" not in container["args"]:
            container["args"] = [*container["args"], "--injected"]

    before = bench.picture()
    bench.server.webhooks.append(append)
    with pytest.raises(Refused, match=r"admission webhook rewrites what the tuner sets \(args\)"):
        await start(target, candidate())
    await target.restore()
    assert bench.picture() == before


async def test_a_webhook_that_rewrites_the_flags_in_real_writes_alone_is_undone_and_told(
    bench: Bench, target: KubernetesTarget
) -> None:
    def cap(deployment: Any) -> None:
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        container["args"] = ["--max-num-seqs=64" if "max-num-seqs" in arg else arg for arg in container["args"]]

    before = bench.picture()
    bench.server.webhooks_of_writes.append(cap)
    with pytest.raises(
        Refused, match=r"rewrites what the tuner sets \(args\), though not in dry runs; it was put back"
    ):
        await start(target, candidate())
    assert bench.picture() == before
    await target.restore()
    assert bench.picture() == before


async def test_a_webhook_that_takes_the_kept_original_off_is_undone_and_told(
    bench: Bench, target: KubernetesTarget
) -> None:
    before = bench.picture()
    bench.server.webhooks_of_writes.append(lambda deployment: deployment["metadata"].pop("annotations", None))
    with pytest.raises(Refused, match=r"\(tuner.dev/original\), though not in dry runs; it was put back"):
        await start(target, candidate())
    assert bench.picture() == before


async def test_a_webhook_that_also_alters_what_is_put_back_leaves_the_choice_to_the_user(
    bench: Bench, target: KubernetesTarget, client: Client
) -> None:
    def append(deployment: Any) -> None:
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        if "--injected" not in container["args"]:
            container["args"] = [*container["args"], "--injected"]

    strategy, args = bench.deployment["spec"]["strategy"], bench.args
    bench.server.webhooks_of_writes.append(append)
    with pytest.raises(Refused, match=r"(?s)args changed by somebody else.*--keep"):
        await start(target, candidate())
    await restore_deployment(client, "ns", "llm", keep=True)
    assert bench.deployment["spec"]["strategy"] == strategy
    assert bench.args == [*args, "--injected"]
    assert stored(bench.deployment) is None


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


async def test_the_annotation_holds_no_environment_values(server: Any, make_target: Callable[..., Any]) -> None:
    bench = Bench(server)
    body = engine()
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "HF_TOKEN", "value": "hf_secret"}]
    bench.deploy(body)
    await bench.ready()
    target = await make_target()
    await start(target, candidate())
    assert "hf_secret" not in json.dumps(bench.deployment["metadata"])
    await target.restore()


async def test_an_original_too_large_to_keep_is_refused_before_anything_changes(
    bench: Bench, target: KubernetesTarget
) -> None:
    bench.change({"metadata": {"annotations": {"notes": "x" * (256 * 1024 - 100)}}})
    before = bench.picture()
    with pytest.raises(Refused, match="limit is 262144"):
        await start(target, candidate())
    assert bench.picture() == before
