"""tuner in its own image, as a pod of the cluster, with the rights of manifests/rbac.yaml and no others."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.support.cluster import ROOT, Cluster
from tests.e2e.support.kubectl import Kubectl, KubectlFailed
from tests.e2e.support.standin import STUDY, WITH_WINNER, Bench, bench

pytestmark = pytest.mark.cluster

ENDED_S = 240.0


def test_a_study_inside_the_cluster_needs_no_more_than_the_documented_rights(
    cluster: Cluster, engine_sim_image: str, tuner_image: str
) -> None:
    with bench(cluster, engine_sim_image, SPEED="0.5") as made, rights(made):
        kubectl = made.engine.kubectl
        code, said = run(kubectl, tuner_image, "doctor", made.engine.name)
        assert code == 0, said
        assert "H100" in said, said  # by the right to read nodes; without it, it would have to be told
        code, said = run(kubectl, tuner_image, "start", made.engine.name, "--yes", *STUDY, *WITH_WINNER)
        assert code == 0, said
        assert "better by" in said
        made.assert_as_it_was()
        assert made.leases() == []


def test_without_rights_it_names_what_it_lacks(cluster: Cluster, engine_sim_image: str, tuner_image: str) -> None:
    with bench(cluster, engine_sim_image) as made:
        code, said = run(made.engine.kubectl, tuner_image, "start", made.engine.name, "--yes", account="default")
        assert code == 3, said
        assert "deployments" in said
        assert "Traceback" not in said
        made.assert_as_it_was()


@contextmanager
def rights(made: Bench) -> Iterator[None]:
    """The documented rights, in the bench's namespace; those on nodes are the cluster's, and taken back at the end."""
    text = (ROOT / "manifests" / "rbac.yaml").read_text().replace("namespace: default", f"namespace: {made.namespace}")
    made.engine.kubectl("apply", "-f", "-", stdin=text)
    account = f"--as=system:serviceaccount:{made.namespace}:tuner"
    try:
        end = time.monotonic() + 30
        # The API server learns of them in its own time.
        while not allowed(made.engine.kubectl, "get", "nodes", account):
            assert time.monotonic() < end
            time.sleep(0.2)
        yield
    finally:
        made.cluster.kubectl("delete", "clusterrole,clusterrolebinding", "tuner-nodes")


def allowed(kubectl: Kubectl, *asked: str) -> bool:
    """What `kubectl auth can-i` says."""
    try:
        return kubectl("auth", "can-i", *asked).strip() == "yes"
    except KubectlFailed:
        return False


def run(kubectl: Kubectl, image: str, *arguments: str, account: str = "tuner") -> tuple[int, str]:
    """Run one command of tuner in a pod to its end: the exit code, and all it printed."""
    name = f"tuner-{arguments[0]}"
    container = {
        "name": "tuner",
        "image": image,
        "imagePullPolicy": "Never",
        "args": list(arguments),
        "resources": {"requests": {"cpu": "500m"}},
    }
    spec = {"serviceAccountName": account, "restartPolicy": "Never", "containers": [container]}
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    end = time.monotonic() + ENDED_S
    while (pod := json.loads(kubectl("get", f"pod/{name}", "-o", "json")))["status"]["phase"] in ("Pending", "Running"):
        assert time.monotonic() < end, f"{pod['status']}\n{kubectl('logs', name)}"
        time.sleep(0.5)
    said = kubectl("logs", name)
    kubectl("delete", f"pod/{name}", "--now")
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], said
