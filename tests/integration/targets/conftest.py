"""A Deployment with a quick engine on the in-process cluster, and the target that tunes it."""

from __future__ import annotations

import copy
import importlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import ApiServer, until
from tests.support.engines import engine
from tuner.core.cause import Failure, TrialFailed
from tuner.core.knob import Candidate
from tuner.engines.vllm import VLLM
from tuner.targets.kubernetes import rollout
from tuner.targets.kubernetes.client import Client, Retry
from tuner.targets.kubernetes.deployment import KubernetesTarget
from tuner.targets.kubernetes.fields import ORIGINAL
from tuner.targets.target import Running

restoring = importlib.import_module("tuner.targets.kubernetes.restore")

Object = dict[str, Any]
STUDY = "study-1"


@dataclass
class Bench:
    """What a test needs: the server, a Deployment on it, and ways to look at it and to tune it."""

    server: ApiServer
    name: str = "llm"

    @property
    def deployment(self) -> Object:
        """As it is stored now."""
        return self.server.get("deployments", "ns", self.name)

    @property
    def args(self) -> list[str]:
        """The engine's arguments now."""
        return list(self.deployment["spec"]["template"]["spec"]["containers"][0]["args"])

    @property
    def pods(self) -> list[Object]:
        """The pods that are not ending."""
        return [p for p in self.server.all("pods") if "deletionTimestamp" not in p["metadata"]]

    def cut_off(self, after: int) -> None:
        """Let the connection break at every patch of the Deployment after the first `after`, as for a killed process.

        `server.before_patch.clear()` mends it.
        """
        count = 0

        def stop(plural: str, _: str) -> None:
            nonlocal count
            count += plural == "deployments"
            if count > after:
                raise ConnectionAbortedError

        self.server.before_patch.append(stop)

    def deploy(self, body: Object) -> None:
        """Create a Deployment."""
        self.name = body["metadata"]["name"]
        self.server.put("deployments", "ns", body, "helm")

    async def ready(self) -> None:
        """Return once the present template's pod is ready."""

        def done() -> bool:
            status, metadata = self.deployment["status"], self.deployment["metadata"]
            return status.get("observedGeneration") == metadata["generation"] and bool(status["readyReplicas"])

        await until(done)

    def change(self, patch: Object, manager: str = "kubectl-edit") -> None:
        """Somebody else changes it."""
        self.server.change("deployments", "ns", self.name, patch, manager)

    def undo(self, replicaset: Object) -> None:
        """`kubectl rollout undo` to a ReplicaSet: its template and its annotations, in place of the Deployment's."""
        template = copy.deepcopy(replicaset["spec"]["template"])
        del template["metadata"]["labels"]["pod-template-hash"]
        live = copy.deepcopy(self.deployment)
        live["spec"]["template"] = template
        annotations = {k: v for k, v in replicaset["metadata"]["annotations"].items() if k != "revision"}
        live["metadata"] |= {"annotations": annotations, "generation": live["metadata"]["generation"] + 1}
        self.server.objects["deployments", "ns", self.name] = live
        self.server.touch(live)

    @property
    def copies(self) -> list[Object]:
        """The ReplicaSets that carry an original."""
        return [r for r in self.server.all("replicasets") if ORIGINAL in r["metadata"]["annotations"]]

    def picture(self) -> Object:
        """All that must be as before after a restore."""
        metadata = self.deployment["metadata"]
        kept = {k: metadata.get(k) for k in ("labels", "annotations", "managedFields")}
        return copy.deepcopy({"spec": self.deployment["spec"], **kept})


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that start in a tenth of a second are looked at ten times as often."""
    monkeypatch.setattr(rollout, "_POLL_S", 0.05)
    monkeypatch.setattr(restoring, "_POLL_S", 0.05)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with ApiServer(tmp_path) as running:
        yield running


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[Client]:
    connected = await Client.connect(str(server.kubeconfig), retry=Retry(patience_s=5.0, first_s=0.05, longest_s=0.2))
    yield connected
    await connected.close()


@pytest.fixture
async def bench(server: ApiServer) -> Bench:
    bench = Bench(server)
    bench.deploy(engine())
    await bench.ready()
    return bench


@pytest.fixture
async def make_target(server: ApiServer) -> AsyncIterator[Callable[..., Any]]:
    """Targets with connections of their own, as processes have; what a test leaves is closed."""
    made: list[KubernetesTarget] = []

    async def make(name: str = "llm", study: str = STUDY, acquire: bool = True, **options: Any) -> KubernetesTarget:
        retry = Retry(patience_s=5.0, first_s=0.05, longest_s=0.2)
        connected = await Client.connect(str(server.kubeconfig), retry=retry)
        target = KubernetesTarget(connected, "ns", name, VLLM, study=study, **options)
        made.append(target)
        if acquire:
            await target.inspect()
            await target.acquire(study)
        return target

    yield make
    for target in made:
        await target.release()


@pytest.fixture
async def target(bench: Bench, make_target: Callable[..., Any]) -> KubernetesTarget:
    """Inspected and acquired."""
    made: KubernetesTarget = await make_target(bench.name)
    return made


def candidate(batched: int = 4096, seqs: int = 32) -> Candidate:
    """`batched` chooses the fate (tests/support/vllm)."""
    return Candidate.of(max_num_seqs=seqs, max_num_batched_tokens=batched)


async def start(target: KubernetesTarget, wanted: Candidate, deadline_s: float = 10.0) -> Running:
    """Apply without listening to progress."""
    return await target.apply(wanted, deadline_s, lambda _: None)


async def failure(target: KubernetesTarget, wanted: Candidate, deadline_s: float = 10.0) -> Failure:
    """The failure of a start that must fail."""
    with pytest.raises(TrialFailed) as caught:
        await start(target, wanted, deadline_s)
    return caught.value.failure


async def killed(target: KubernetesTarget) -> None:
    """What kill -9 leaves: nothing renewed, nothing restored."""
    assert target._taken is not None
    assert target._taken._task is not None
    target._taken._task.cancel()
    target._taken = None
