"""Fixtures of the end-to-end tests. Environment:

TUNER_E2E_KUBECONFIG     the cluster to use; without it, kind makes one where kind and docker are installed
TUNER_E2E_IMAGE_BUILDER  a command NAME CONTEXT [OPTIONS...] that builds an image and loads it into that cluster
TUNER_E2E_APISERVER      a command stop|start that makes an outage of that cluster's API server
TUNER_E2E_VLLM_VENV      where the real engine's environment is, or is to be made (5 GB)
TUNER_E2E_REQUIRED       set: what is missing fails the tests instead of skipping them
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support import engine as engines
from tests.e2e.support import images
from tests.e2e.support.cluster import ROOT, Cluster, find_cluster
from tests.e2e.support.command import Tuner
from tests.e2e.support.deployment import EXAMPLES, Deployed, Document, container, deploy
from tests.e2e.support.engine import RealEngine
from tests.e2e.support.kubectl import Kubectl


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in a hook of its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what may not run side by side (`--dist loadgroup`): one real engine at a time, and a module's shared one."""
    for item in items:
        group = "engine" if item.get_closest_marker("engine") else item.location[0]
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.get_closest_marker("engine") is None)  # these take the longest


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """A real cluster whose API server answers."""
    found = find_cluster()
    found.wait_until_up()
    return found


@pytest.fixture
def kubectl(cluster: Cluster) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own."""
    with cluster.namespace() as inside:
        yield inside


@pytest.fixture(scope="session")
def vllm() -> RealEngine:
    """The real engine."""
    return engines.install()


@pytest.fixture(scope="session")
def vllm_image(cluster: Cluster) -> str:
    """What the real engine's environment needs around it."""
    return images.build(cluster, "localhost/tuner-e2e-vllm:1", ROOT / "tests" / "e2e" / "vllm")


@pytest.fixture(scope="session")
def engine_sim_image(cluster: Cluster) -> str:
    """The stand-in engine."""
    return images.build(cluster, "localhost/tuner-engine-sim:e2e", ROOT, "--target", "engine-sim")


@pytest.fixture(scope="session")
def tuner_image(cluster: Cluster) -> str:
    """tuner itself."""
    return images.build(cluster, "localhost/tuner:e2e", ROOT, "--target", "tuner")


@pytest.fixture
def deploy_vllm(kubectl: Kubectl, vllm: RealEngine, vllm_image: str):
    """A function that deploys the real engine, edited where a test needs it otherwise; it does not wait."""

    def function(edit=None, *, size: str = "small", manager: str = "e2e") -> Deployed:
        variables = vllm.variables(vllm_image, size)
        return deploy(kubectl, EXAMPLES / "vllm-cpu.yaml", variables, edit=edit, manager=manager)

    return function


@pytest.fixture
def deploy_engine_sim(kubectl: Kubectl, engine_sim_image: str):
    """A function that deploys the stand-in engine, edited where a test needs it otherwise; it does not wait."""

    def function(edit=None, *, manager: str = "e2e") -> Deployed:
        def use_image(deployment: Document) -> None:
            container(deployment)["image"] = engine_sim_image
            if edit:
                edit(deployment)

        return deploy(kubectl, EXAMPLES / "engine-sim.yaml", {}, edit=use_image, manager=manager)

    return function


@pytest.fixture
def tuner(cluster: Cluster, tmp_path: Path) -> Tuner:
    """tuner's command line on the cluster."""
    return Tuner(cluster.kubeconfig, tmp_path)
