"""What must hold when somebody or something interferes: races, edits, kills, outages."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.targets.conftest import STUDY, candidate, failure, killed, start
from tests.support.apiserver import until
from tests.support.bench import Bench
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
    client.retry = type(client.retry)(patience_s=1.0)
    with contextlib.suppress(ApiError):
        await restore_deployment(client, "ns", "llm", patience_s=1.0)
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


async def test_a_study_whose_kept_original_was_taken_off_puts_it_back_by_memory(
    bench: Bench, target: KubernetesTarget
) -> None:
    before = bench.picture()
    await start(target, candidate())
    bench.change({"metadata": {"labels": {ORIGINAL: None}, "annotations": {ORIGINAL: None}}})
    told = await failure(target, candidate(1024))
    assert f"the annotation {ORIGINAL} was removed during the study" in told.message
    await target.restore()
    assert bench.deployment["spec"] == before["spec"]
    assert "tuner" not in {entry["manager"] for entry in bench.deployment["metadata"]["managedFields"]}


async def test_what_is_left_is_put_back_where_the_engines_container_was_taken_out(
    bench: Bench, target: KubernetesTarget, client: Client, make_target: Callable[..., Any]
) -> None:
    strategy = bench.deployment["spec"]["strategy"]
    await start(target, candidate())
    await killed(target)
    container = bench.deployment["spec"]["template"]["spec"]["containers"][0]
    new = {**container, "name": "renamed"}
    bench.change({"spec": {"template": {"spec": {"containers": [new]}}}})
    bench.deployment["spec"]["template"]["spec"]["containers"] = [new]
    with pytest.raises(Refused, match=r"study-1 changed it at .*tuner restore"):
        await (await make_target(study="study-2", acquire=False)).inspect()
    with pytest.raises(Refused, match=r"container 'engine', in which .* args, command, was taken out.*--keep"):
        await restore_deployment(client, "ns", "llm")
    report = await restore_deployment(client, "ns", "llm", keep=True)
    assert report.kept == ("args", "command")
    assert bench.deployment["spec"]["strategy"] == strategy
    assert bench.args == new["args"]
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
