"""The ground that the other end-to-end tests stand on: it carries, and it notices what it must notice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import httpx
import pytest

from tests.e2e.support.cluster import Cluster
from tests.e2e.support.deployment import Deployed, container
from tests.e2e.support.kubectl import Kubectl, KubectlFailed
from tests.e2e.support.ownership import assert_untouched, differences

pytestmark = pytest.mark.cluster

PAUSE = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "quiet", "labels": {"app": "quiet"}},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "quiet"}},
        "template": {
            "metadata": {"labels": {"app": "quiet"}},
            "spec": {"containers": [{"name": "main", "image": "localhost/none:1", "args": ["--a=1"]}]},
        },
    },
}


@pytest.mark.engine
def test_the_example_deployment_serves_from_a_pod(deploy_vllm: Callable[..., Deployed]) -> None:
    deployed = deploy_vllm()
    deployed.wait_until_ready()
    with httpx.Client(base_url=deployed.endpoint(), timeout=60) as client:
        answer = client.post("/v1/completions", json={"model": "small", "prompt": "The statement", "max_tokens": 8})
        metrics = client.get("/metrics").text
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] == 8
    assert "vllm:cache_config_info{" in metrics


def test_an_untouched_object_is_told_from_a_touched_one(kubectl: Kubectl) -> None:
    kubectl.apply(PAUSE, "helm")
    quiet = Deployed(kubectl, "quiet")
    before = quiet.get()
    assert_untouched(before, quiet.get())

    kubectl.patch(quiet.what, {"spec": {"template": {"metadata": {"annotations": {"x": "y"}}}}})
    found = differences(before, quiet.get())
    assert [line for line in found if line.startswith("spec.template.metadata.annotations")], found


def test_a_value_put_back_by_another_manager_is_not_untouched(kubectl: Kubectl) -> None:
    """The spec is equal again, but its owner's next apply would fail: only the comparison of owners sees it."""
    kubectl.apply(PAUSE, "helm")
    quiet = Deployed(kubectl, "quiet")
    before = quiet.get()
    for args in (["--a=2"], container(before)["args"]):
        body = {"spec": {"template": {"spec": {"containers": [{"name": "main", "args": args}]}}}}
        kubectl.patch(quiet.what, body, "--field-manager=tuner")
    after = quiet.get()
    assert after["spec"] == before["spec"]
    assert differences(before, after)

    entries = [entry for entry in before["metadata"]["managedFields"] if entry.get("subresource") != "status"]
    entries += [entry for entry in after["metadata"]["managedFields"] if entry.get("subresource") == "status"]
    guard = {"resourceVersion": after["metadata"]["resourceVersion"], "managedFields": entries}
    kubectl.patch(quiet.what, {"metadata": guard}, "--type=merge", "--field-manager=tuner")
    assert_untouched(before, quiet.get())


@pytest.mark.outage
def test_the_api_server_goes_down_and_comes_back(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl.apply(PAUSE)
    began = time.monotonic()
    with cluster.outage(), pytest.raises(KubectlFailed):
        kubectl("get", "deployments", "--request-timeout=2s")
    assert json.loads(kubectl("get", "deployments", "-o", "json"))["items"]
    assert time.monotonic() - began < 60
