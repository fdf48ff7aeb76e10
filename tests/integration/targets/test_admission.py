"""What the cluster itself refuses or rewrites: nothing is left of it on the Deployment."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.targets.conftest import candidate, start
from tests.support.bench import Bench
from tuner.core.errors import Refused
from tuner.targets.kubernetes import restore_deployment
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.deployment import KubernetesTarget
from tuner.targets.kubernetes.snapshot import stored


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
