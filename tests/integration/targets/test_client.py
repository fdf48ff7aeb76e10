"""The thin client: what is repeated and what is not, and what each answer becomes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.apiserver import ApiServer
from tests.support.engines import engine
from tuner.core.errors import InvalidInput, Refused
from tuner.targets.kubernetes.client import Client, Retry
from tuner.targets.kubernetes.errors import ApiError, Forbidden, NotFound, Unauthorised, Unreachable
from tuner.targets.kubernetes.resources import DEPLOYMENTS, LEASES, PODS, Resource


@pytest.fixture
async def quick(server: ApiServer, client: Client) -> Client:
    server.node.rolls = False  # its controller would write too
    server.put("deployments", "ns", engine("llm"))
    server.requests.clear()
    return client


def calls(server: ApiServer, method: str) -> int:
    return [m for m, _ in server.requests].count(method)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_read_is_repeated_after_trouble(server: ApiServer, quick: Client, status: int) -> None:
    server.troubles = [(status, None), (status, None)]
    assert (await quick.get(DEPLOYMENTS, "ns", "llm"))["metadata"]["name"] == "llm"
    assert calls(server, "GET") == 3


async def test_the_servers_own_retry_after_is_waited_for(server: ApiServer, quick: Client) -> None:
    server.troubles = [(429, "1")]
    before = quick.outage_s
    await quick.get(DEPLOYMENTS, "ns", "llm")
    assert quick.outage_s - before == pytest.approx(1.0, abs=0.3)


async def test_an_internal_error_that_stays_is_told_after_a_few_tries(server: ApiServer, quick: Client) -> None:
    server.troubles = [(500, None)] * 20
    with pytest.raises(ApiError, match="trouble"):
        await quick.get(DEPLOYMENTS, "ns", "llm")
    assert calls(server, "GET") == 4


async def test_patience_ends(server: ApiServer, quick: Client) -> None:
    quick.retry = Retry(patience_s=0.2, first_s=0.05)
    server.troubles = [(503, None)] * 100
    with pytest.raises(Unreachable):
        await quick.get(DEPLOYMENTS, "ns", "llm")


async def test_a_guarded_patch_is_repeated_and_an_unguarded_one_is_not(server: ApiServer, quick: Client) -> None:
    version = (await quick.get(DEPLOYMENTS, "ns", "llm"))["metadata"]["resourceVersion"]
    server.troubles = [(503, None)]
    with pytest.raises(Unreachable):
        await quick.patch(DEPLOYMENTS, "ns", "llm", {"metadata": {"labels": {"a": "1"}}})
    assert calls(server, "PATCH") == 1
    server.troubles = [(503, None)]
    await quick.patch(DEPLOYMENTS, "ns", "llm", {"metadata": {"resourceVersion": version, "labels": {"a": "1"}}})
    assert calls(server, "PATCH") == 3


async def test_a_creation_is_never_repeated(server: ApiServer, quick: Client) -> None:
    server.troubles = [(503, None)]
    with pytest.raises(Unreachable):
        await quick.create(LEASES, "ns", {"metadata": {"name": "l"}, "spec": {}})
    assert calls(server, "POST") == 1


async def test_a_missing_right_is_refused_with_verb_and_resource(server: ApiServer, quick: Client) -> None:
    server.denied = {("list", "pods")}
    with pytest.raises(Refused, match=r"list pods: .*cannot list") as caught:
        await quick.list(PODS, "ns")
    assert isinstance(caught.value, Forbidden)
    assert caught.value.exit_code == 3


async def test_credentials_that_ended_are_loaded_again_once(server: ApiServer, quick: Client) -> None:
    server.troubles = [(401, None)]
    await quick.get(DEPLOYMENTS, "ns", "llm")
    server.troubles = [(401, None), (401, None)]
    with pytest.raises(Unauthorised):
        await quick.get(DEPLOYMENTS, "ns", "llm")


async def test_a_kind_that_the_cluster_does_not_have_is_not_found(quick: Client) -> None:
    with pytest.raises(NotFound):
        await quick.list(Resource("keda.sh", "v1alpha1", "scaledobjects"), "ns")


async def test_a_server_that_does_not_answer_is_told_within_seconds(server: ApiServer, tmp_path: Path) -> None:
    config = json.loads(server.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:9"
    path = tmp_path / "dead"
    path.write_text(json.dumps(config))
    with pytest.raises(Unreachable, match=r"reach the API server: no answer from http://127.0.0.1:9"):
        await Client.connect(str(path))


async def test_the_contexts_namespace_is_known_and_unknown_contexts_are_refused(server: ApiServer) -> None:
    client = await Client.connect(str(server.kubeconfig), "c")
    assert client.namespace == "ns"
    await client.close()
    with pytest.raises(InvalidInput, match="nowhere"):
        await Client.connect(str(server.kubeconfig), "nowhere")
    with pytest.raises(InvalidInput, match="no such file"):
        await Client.connect("/nonexistent/config")


async def test_no_log_yet_is_an_empty_one(quick: Client) -> None:
    assert await quick.log("ns", "nobody", "engine") == ""
