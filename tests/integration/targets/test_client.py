"""The thin client: what is repeated and what is not, and what each answer becomes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import ApiServer
from tests.support.engines import engine
from tuner.core.errors import InvalidInput, Refused
from tuner.targets.kubernetes.client import Client, Retry
from tuner.targets.kubernetes.errors import (
    ApiError,
    Forbidden,
    Invalid,
    NotFound,
    Unauthorised,
    Unreachable,
    from_answer,
)
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
        await quick.list(Resource("example.com", "v1", "widgets"), "ns")


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


async def test_the_kubelets_word_that_a_log_is_gone_is_no_log(
    server: ApiServer, quick: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = "unable to retrieve container logs for containerd://61a93aa17bfb193bc125b151ec643c85"
    monkeypatch.setattr(server.node, "log", lambda *_of: gone)
    assert await quick.log("ns", "llm-0", "engine", previous=True) == ""


async def test_an_outage_is_counted_once_however_many_calls_wait_for_it(server: ApiServer, quick: Client) -> None:
    server.troubles = [(503, "1")] * 4
    before = quick.outage_s
    await asyncio.gather(*(quick.get(DEPLOYMENTS, "ns", "llm") for _ in range(4)))
    assert quick.outage_s - before == pytest.approx(1.0, abs=0.4)


async def test_a_log_is_waited_for_like_everything_else(server: ApiServer, quick: Client) -> None:
    quick.retry = Retry(patience_s=30.0, first_s=0.05)
    server.troubles = [(503, "6")]
    assert await quick.log("ns", "nobody", "engine") == ""


async def test_what_answers_is_told_where_it_is_no_api_server(server: ApiServer, quick: Client) -> None:
    server.troubles = [(200, None)]
    with pytest.raises(ApiError, match=r"what http://127.0.0.1:\d+ answers is not an API server's"):
        await quick.get(DEPLOYMENTS, "ns", "llm")


async def test_calls_whose_credentials_end_together_load_them_once(server: ApiServer, quick: Client) -> None:
    renew, loaded = quick._renew, 0

    async def counted() -> Any:
        nonlocal loaded
        loaded += 1
        assert renew is not None
        return await renew()

    quick._renew = counted
    server.troubles = [(401, None)] * 3
    await asyncio.gather(*(quick.get(DEPLOYMENTS, "ns", "llm") for _ in range(3)))
    assert loaded == 1


async def test_credentials_that_can_not_be_loaded_again_are_an_answer_of_the_api(
    server: ApiServer, quick: Client
) -> None:
    server.kubeconfig.unlink()  # a lease's renewal that meets anything but ApiError ends for good
    server.troubles = [(401, None)]
    with pytest.raises(Unauthorised):
        await quick.get(DEPLOYMENTS, "ns", "llm")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ('deployments.apps "llm" is forbidden: User "system:serviceaccount:ns:t" cannot patch resource', Forbidden),
        ('admission webhook "validation.gatekeeper.sh" denied the request: [limits] no', Invalid),
        ('pods "llm-1" is forbidden: violates PodSecurity "restricted:latest"', Invalid),
    ],
)
def test_a_policys_refusal_is_told_from_a_missing_right(message: str, kind: type[ApiError]) -> None:
    body = json.dumps({"reason": "Forbidden", "message": message}).encode()
    error = from_answer(403, body, "patch deployments.apps/llm")
    assert type(error) is kind
    assert ("rbac.yaml" in str(error)) is (kind is Forbidden)
