"""A Deployment with a quick engine on the in-process cluster."""

from __future__ import annotations

import copy
import importlib
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.apiserver import ApiServer, until
from tests.support.engines import engine
from tuner.targets.kubernetes import rollout
from tuner.targets.kubernetes.fields import ORIGINAL

restoring = importlib.import_module("tuner.targets.kubernetes.restore")

Object = dict[str, Any]


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


async def deployed(server: ApiServer) -> Bench:
    """One whose engine serves."""
    bench = Bench(server)
    bench.deploy(engine())
    await bench.ready()
    return bench


def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that start in a tenth of a second are looked at ten times as often."""
    monkeypatch.setattr(rollout, "_POLL_S", 0.05)
    monkeypatch.setattr(restoring, "_POLL_S", 0.05)
