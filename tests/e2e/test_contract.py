"""The API server's behaviours that the Kubernetes target relies on, pinned on the in-process server and on a real one.

Field ownership is computed by real servers only, so those tests run there alone.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import ApiServer
from tuner.targets.kubernetes import copies, restore_deployment
from tuner.targets.kubernetes.client import MERGE, STRATEGIC, Client
from tuner.targets.kubernetes.errors import Conflict, Invalid, NotFound
from tuner.targets.kubernetes.fields import ORIGINAL, START
from tuner.targets.kubernetes.resources import DEPLOYMENTS, LEASES, PODS, REPLICASETS, Resource
from tuner.targets.kubernetes.snapshot import Snapshot

Object = dict[str, Any]
NAME = "contract"
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)


class Place:
    """A namespace on one of the servers, with one Deployment that asks for no replicas."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client, self.namespace = client, namespace

    async def get(self) -> Object:
        return await self.client.get(DEPLOYMENTS, self.namespace, NAME)

    async def patch(self, body: Object, content_type: str = STRATEGIC, **options: Any) -> Object:
        return await self.client.patch(DEPLOYMENTS, self.namespace, NAME, body, content_type=content_type, **options)


def deployment() -> Object:
    container = {
        "name": "engine",
        "image": "python:3.11",
        "imagePullPolicy": "Never",
        "command": ["sleep"],
        "args": ["3600", "--a=1"],
    }
    beside = {"name": "beside", "image": "python:3.11", "imagePullPolicy": "Never", "command": ["sleep", "3600"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [beside, container]},
            },
        },
    }


@pytest.fixture
async def real(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    try:
        cluster = request.getfixturevalue("cluster")
    except pytest.FixtureLookupError:
        pytest.skip("a real cluster is asked by tests/e2e only")
    client = await Client.connect(str(cluster.kubeconfig))
    namespace = f"kube-{secrets.token_hex(4)}"
    await client.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    await client.create(DEPLOYMENTS, namespace, deployment())
    yield Place(client, namespace)
    await client.delete(NAMESPACES, None, namespace)
    await client.close()


@pytest.fixture
async def in_process(tmp_path: Path) -> AsyncIterator[Place]:
    async with ApiServer(tmp_path) as server:
        client = await Client.connect(str(server.kubeconfig))
        await client.create(DEPLOYMENTS, "ns", deployment())
        yield Place(client, "ns")
        await client.close()


@pytest.fixture(params=["in_process", pytest.param("real", marks=pytest.mark.cluster)])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


async def settled(place: Place) -> Object:
    """The Deployment once its controller has seen it: no write of its own is to come."""
    while True:
        live = await place.get()
        seen = live.get("status", {}).get("observedGeneration") == live["metadata"]["generation"]
        if seen and await place.client.list(REPLICASETS, place.namespace, {"app": NAME}):
            await asyncio.sleep(0.3)
            again = await place.get()
            if again["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]:
                return again
        await asyncio.sleep(0.1)


def engine_args(live: Object) -> list[str]:
    (found,) = [c for c in live["spec"]["template"]["spec"]["containers"] if c["name"] == "engine"]
    return list(found["args"])


def set_args(*args: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "engine", "args": list(args)}]}}}}


async def test_a_patch_of_the_spec_raises_version_and_generation(place: Place) -> None:
    before = (await settled(place))["metadata"]
    after = (await place.patch({"spec": {"progressDeadlineSeconds": 700}}))["metadata"]
    assert after["generation"] == before["generation"] + 1
    assert after["resourceVersion"] != before["resourceVersion"]


async def test_a_deployments_annotations_count_in_its_generation_and_labels_do_not(place: Place) -> None:
    before = (await settled(place))["metadata"]
    after = (await place.patch({"metadata": {"annotations": {"a": "1"}}}))["metadata"]
    assert after["generation"] == before["generation"] + 1
    before = (await settled(place))["metadata"]
    after = (await place.patch({"metadata": {"labels": {"a": "1"}}}))["metadata"]
    assert after["generation"] == before["generation"]
    assert after["resourceVersion"] != before["resourceVersion"]


async def test_a_patch_that_changes_nothing_changes_nothing(place: Place) -> None:
    before = await settled(place)
    after = await place.patch(set_args("3600", "--a=1"))
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


@pytest.mark.parametrize("content_type", [STRATEGIC, MERGE])
async def test_a_stale_version_is_a_conflict(place: Place, content_type: str) -> None:
    stale = (await settled(place))["metadata"]["resourceVersion"]
    await place.patch({"metadata": {"labels": {"x": "1"}}})
    with pytest.raises(Conflict):
        await place.patch({"metadata": {"resourceVersion": stale, "labels": {"x": "2"}}}, content_type)


async def test_lists_are_replaced_whole_and_containers_go_by_name(place: Place) -> None:
    after = await place.patch(set_args("60"))
    assert engine_args(after) == ["60"]
    assert [c["name"] for c in after["spec"]["template"]["spec"]["containers"]] == ["beside", "engine"]
    assert after["spec"]["template"]["spec"]["containers"][0]["command"] == ["sleep", "3600"]


async def test_null_removes_a_list(place: Place) -> None:
    body = {
        "spec": {"template": {"spec": {"containers": [{"name": "engine", "args": None, "command": ["sleep", "9"]}]}}}
    }
    after = await place.patch(body)
    assert "args" not in after["spec"]["template"]["spec"]["containers"][1]


async def test_a_list_without_items_is_dropped(place: Place) -> None:
    after = await place.patch({"spec": {"template": {"spec": {"containers": [{"name": "engine", "args": []}]}}}})
    assert "args" not in after["spec"]["template"]["spec"]["containers"][1]


async def test_recreate_needs_the_rolling_update_taken_out(place: Place) -> None:
    with pytest.raises(Invalid, match="rollingUpdate"):
        await place.patch({"spec": {"strategy": {"type": "Recreate"}}})
    after = await place.patch({"spec": {"strategy": {"rollingUpdate": None, "type": "Recreate"}}})
    assert after["spec"]["strategy"] == {"type": "Recreate"}


async def test_a_strategy_goes_back_to_exactly_what_it_was(place: Place) -> None:
    before = (await place.get())["spec"]["strategy"]
    assert before == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    await place.patch({"spec": {"strategy": {"rollingUpdate": None, "type": "Recreate"}}})
    after = await place.patch({"spec": {"strategy": {"rollingUpdate": None, **before}}})
    assert after["spec"]["strategy"] == before


async def test_unknown_fields_are_refused(place: Place) -> None:
    with pytest.raises(Invalid, match="unknown field"):
        await place.patch({"spec": {"replicaz": 1}})


async def test_a_dry_run_answers_and_stores_nothing(place: Place) -> None:
    before = await settled(place)
    answer = await place.patch(set_args("60"), dry_run=True)
    assert engine_args(answer) == ["60"]
    assert (await place.get())["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_defaults_are_there_to_be_kept(place: Place) -> None:
    spec = (await place.get())["spec"]
    assert (spec["progressDeadlineSeconds"], spec["revisionHistoryLimit"]) == (600, 10)


async def test_managed_fields_can_be_written_by_a_patch_of_their_own(place: Place) -> None:
    live = await settled(place)
    entries = [
        {**entry, "manager": "somebody"} for entry in live["metadata"]["managedFields"] if "subresource" not in entry
    ]
    others = [entry for entry in live["metadata"]["managedFields"] if "subresource" in entry]
    version = live["metadata"]["resourceVersion"]
    body = {"metadata": {"resourceVersion": version, "managedFields": entries + others}}
    after = await place.patch(body, MERGE)
    assert "somebody" in {entry["manager"] for entry in after["metadata"]["managedFields"]}
    assert "tuner" not in {entry["manager"] for entry in after["metadata"]["managedFields"]}


async def test_a_template_put_back_finds_its_old_replicaset(place: Place) -> None:
    await settled(place)
    (before,) = await place.client.list(REPLICASETS, place.namespace, {"app": NAME})
    mark = {"spec": {"template": {"metadata": {"annotations": {START: "1"}}}}}
    await place.patch(mark)
    await settled(place)
    assert len(await place.client.list(REPLICASETS, place.namespace, {"app": NAME})) == 2
    mark["spec"]["template"]["metadata"]["annotations"][START] = None  # type: ignore[assignment]
    after = await place.patch(mark)
    assert not after["spec"]["template"]["metadata"].get("annotations")
    await settled(place)
    names = {r["metadata"]["name"] for r in await place.client.list(REPLICASETS, place.namespace, {"app": NAME})}
    assert len(names) == 2
    assert before["metadata"]["name"] in names


async def test_annotations_are_copied_to_the_current_replicaset_and_stay_there(place: Place) -> None:
    await settled(place)
    await place.patch({"metadata": {"annotations": {ORIGINAL: "x"}}})
    await settled(place)
    after = await place.patch({"metadata": {"annotations": {ORIGINAL: None}}})
    assert ORIGINAL not in after["metadata"].get("annotations", {})
    await settled(place)
    (replicaset,) = await place.client.list(REPLICASETS, place.namespace, {"app": NAME})
    assert replicaset["metadata"]["annotations"][ORIGINAL] == "x"
    await copies.remove(place.client, after)
    (replicaset,) = await place.client.list(REPLICASETS, place.namespace, {"app": NAME})
    assert ORIGINAL not in replicaset["metadata"]["annotations"]


async def test_leases_are_guarded_like_everything_else(place: Place) -> None:
    client, namespace = place.client, place.namespace
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "one"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 30, "renewTime": "2026-01-01T00:00:00.000000Z"},
    }
    made = await client.create(LEASES, namespace, body)
    with pytest.raises(Conflict):
        await client.create(LEASES, namespace, body)
    version = made["metadata"]["resourceVersion"]
    change = {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": "b"}}
    await client.patch(LEASES, namespace, "one", change, content_type=MERGE)
    with pytest.raises(Conflict):
        await client.patch(LEASES, namespace, "one", change, content_type=MERGE)
    with pytest.raises(Conflict):
        await client.delete(LEASES, namespace, "one", version)
    await client.delete(LEASES, namespace, "one")
    assert await client.find(LEASES, namespace, "one") is None
    await client.delete(LEASES, namespace, "one")


async def test_lists_come_in_pages(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.targets.kubernetes.client._PAGE", 2)
    for name in ("a", "b", "c", "d", "e"):
        spec = {"holderIdentity": name, "leaseDurationSeconds": 30}
        await place.client.create(LEASES, place.namespace, {"metadata": {"name": name}, "spec": spec})
    found = await place.client.list(LEASES, place.namespace)
    assert [one["metadata"]["name"] for one in found] == ["a", "b", "c", "d", "e"]


async def test_what_is_not_there_is_not_found(place: Place) -> None:
    with pytest.raises(NotFound):
        await place.client.get(DEPLOYMENTS, place.namespace, "nothing")
    assert await place.client.list(PODS, place.namespace, {"app": "nothing"}) == []


async def test_access_is_reviewed(place: Place) -> None:
    assert await place.client.allowed("patch", DEPLOYMENTS, place.namespace)


async def kubectl_apply(place: Place, body: Object) -> Object:
    """A server-side apply by Helm."""
    path = DEPLOYMENTS.path(place.namespace, NAME)
    return await place.client._json(
        "PATCH",
        path,
        "apply",
        query=[("fieldManager", "helm"), ("force", "false")],
        body=body,
        content_type="application/apply-patch+yaml",
    )


def owners(live: Object) -> str:
    entries = [entry for entry in live["metadata"]["managedFields"] if "subresource" not in entry]
    return json.dumps(entries, sort_keys=True)


@pytest.mark.cluster
async def test_ownership_goes_back_with_the_values_so_that_the_next_apply_succeeds(real: Place) -> None:
    await real.client.delete(DEPLOYMENTS, real.namespace, NAME)
    body = deployment()
    await kubectl_apply(real, body)
    before = await settled(real)
    await real.patch(set_args("3600", "--a=2"))
    changed: Callable[[str], Object] = lambda value: {  # noqa: E731
        **body,
        "spec": {**body["spec"], "template": json.loads(json.dumps(body["spec"]["template"]).replace("--a=1", value))},
    }
    with pytest.raises(Conflict, match=r'conflict with "tuner"'):
        await kubectl_apply(real, changed("--a=3"))
    values = {"args": ["3600", "--a=1"]}
    owned = tuple(e for e in before["metadata"]["managedFields"] if "subresource" not in e)
    snapshot = Snapshot("i", "s", "2026-01-01T00:00:00Z", "engine", values, {"args": ["3600", "--a=2"]}, owned)
    await real.patch({"metadata": snapshot.metadata})
    report = await restore_deployment(real.client, real.namespace, NAME)
    assert report.fields == ("args",)
    after = await real.get()
    assert owners(after) == owners(before)
    assert after["spec"] == before["spec"]
    assert ORIGINAL not in {**after["metadata"].get("annotations", {}), **after["metadata"].get("labels", {})}
    assert engine_args(await kubectl_apply(real, changed("--a=3"))) == ["3600", "--a=3"]


@pytest.mark.cluster
async def test_what_others_came_to_own_meanwhile_stays_theirs(real: Place) -> None:
    await real.client.delete(DEPLOYMENTS, real.namespace, NAME)
    await kubectl_apply(real, deployment())
    before = await settled(real)
    owned = tuple(e for e in before["metadata"]["managedFields"] if "subresource" not in e)
    values = {"args": ["3600", "--a=1"]}
    snapshot = Snapshot("i", "s", "2026-01-01T00:00:00Z", "engine", values, {"args": ["3600", "--a=2"]}, owned)
    await real.patch({"metadata": snapshot.metadata, **set_args("3600", "--a=2")})
    path = DEPLOYMENTS.path(real.namespace, NAME)
    label = {"metadata": {"labels": {"team": "search"}}}
    await real.client._json(
        "PATCH", path, "label", query=[("fieldManager", "kubectl-label")], body=label, content_type=MERGE
    )
    await restore_deployment(real.client, real.namespace, NAME)
    after = await real.get()
    assert after["metadata"]["labels"] == {"team": "search"}
    managers = {e["manager"]: e for e in after["metadata"]["managedFields"] if "subresource" not in e}
    assert set(managers) == {"helm", "kubectl-label"}
    assert managers["helm"] == owned[0]
