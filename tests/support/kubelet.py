"""The rest of the small cluster: a Deployment controller, a scheduler that counts GPUs, a kubelet that runs processes.

A container is a process of this machine, its pod's IP is 127.0.0.1, its log a file. Restarts, back-off (shortened),
readiness probes (httpGet), GPU limits, image names and memory limits (by resident size) act as on a real node; of a
startupProbe only the time that it allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import json
import math
import os
import re
import shutil
import signal
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from tests.support.apiserver import ApiServer

Object = dict[str, Any]
_TICK_S = 0.03
_GPU = "nvidia.com/gpu"
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass
class Running:
    """A container's process, and its runs so far."""

    log: Path
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    wait_until: float = 0.0
    oom: bool = False
    ready: bool = False
    began: float = 0.0
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Object = field(default_factory=dict)


class Node:
    """Acts on the server's objects every few milliseconds."""

    def __init__(self, server: ApiServer, folder: Path, gpus: int) -> None:
        self._server, self._folder, self.gpus = server, folder, gpus
        self._task: asyncio.Task[None] | None = None
        self._running: dict[str, Running] = {}
        #: Images that are there; a container with another one is never made.
        self.images = {"python"}
        self.backoff_s = 0.3
        #: False: the Deployment controller stands still.
        self.rolls = True
        #: So many pods are turned away, as by a device plugin that has no device free yet.
        self.turns_away = 0
        #: Why the API server takes no pod (a quota, a policy); empty: it does.
        self.refusal = ""

    def start(self) -> None:
        """Begin to act."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End all processes."""
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        for running in self._running.values():
            if running.process is not None and running.process.returncode is None:
                running.process.kill()
                await running.process.wait()

    def log(self, pod: str, container: str, previous: bool) -> str | None:
        """A container's log, or None where it has not run."""
        del container
        running = self._running.get(pod)
        if running is None or (previous and not running.last):
            return None
        run = running.restarts - int(previous and "running" in running.state)
        path = running.log.with_suffix(f".{run}")
        return path.read_text() if path.exists() else None

    async def _run(self) -> None:
        while True:
            for deployment in self._server.all("deployments"):
                if self.rolls:
                    self._roll(deployment)
            for pod in self._server.all("pods"):
                await self._tend(pod)
            await asyncio.sleep(_TICK_S)

    # --- the Deployment controller ---

    def _roll(self, deployment: Object) -> None:
        spec, metadata = deployment["spec"], deployment["metadata"]
        if spec.get("paused"):
            return
        current = self._current(deployment)
        self._annotate(deployment, current)
        owned = [r for r in self._server.all("replicasets", metadata["namespace"]) if _owns(deployment, r)]
        old_pods = [p for r in owned if r is not current for p in self._pods(r)]
        new_pods = [p for p in self._pods(current) if "deletionTimestamp" not in p["metadata"]]
        recreate = spec["strategy"]["type"] == "Recreate"
        if recreate or any(_ready(pod) for pod in new_pods) or spec["replicas"] == 0:
            for pod in old_pods:
                self._end(pod)
        if len(new_pods) < spec["replicas"] and not (recreate and old_pods):
            self._make_pod(current)
        for pod in new_pods[spec["replicas"] :]:
            self._end(pod)
        for replicaset in owned:
            wanted = spec["replicas"] if replicaset is current else 0
            replicaset["spec"]["replicas"] = wanted if replicaset is current or not self._pods(replicaset) else 1
            replicaset["status"]["replicas"] = len(self._pods(replicaset))
        if any(_ready(pod) for pod in new_pods) and not old_pods:
            self._cut_history(deployment, [r for r in owned if r is not current])
        ready = sum(map(_ready, new_pods))
        status = {
            "observedGeneration": metadata["generation"],
            "replicas": len(new_pods) + len(old_pods),
            "updatedReplicas": len(new_pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        if status != deployment["status"]:
            deployment["status"] = status
            self._server.touch(deployment)

    def _current(self, deployment: Object) -> Object:
        template = deployment["spec"]["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        metadata = deployment["metadata"]
        name = f"{metadata['name']}-{digest}"
        revisions = [int(r["metadata"]["annotations"]["revision"]) for r in self._server.all("replicasets")]
        with contextlib.suppress(Exception):
            return self._server.get("replicasets", metadata["namespace"], name)
        made = copy.deepcopy(template)
        labels = {**(made["metadata"].get("labels") or {}), "pod-template-hash": digest}
        made["metadata"]["labels"] = labels
        return self._server.put(
            "replicasets",
            metadata["namespace"],
            {
                "metadata": {
                    "name": name,
                    "labels": labels,
                    "annotations": {"revision": str(max(revisions, default=0) + 1)},
                    "ownerReferences": [{"kind": "Deployment", "controller": True, "uid": metadata["uid"]}],
                },
                "spec": {"replicas": 0, "template": made},
                "status": {"replicas": 0},
            },
        )

    def _annotate(self, deployment: Object, replicaset: Object) -> None:
        """Copy annotations, and never take one off."""
        own = ("kubectl.kubernetes.io/", "deployment.kubernetes.io/")
        given = deployment["metadata"].get("annotations") or {}
        copied = {name: text for name, text in given.items() if not name.startswith(own)}
        annotations = replicaset["metadata"]["annotations"]
        if not copied.items() <= annotations.items():
            annotations |= copied
            self._server.touch(replicaset)

    def _cut_history(self, deployment: Object, old: list[Object]) -> None:
        old.sort(key=lambda r: int(r["metadata"]["annotations"]["revision"]))
        limit = deployment["spec"]["revisionHistoryLimit"]
        for replicaset in old[: max(0, len(old) - limit)]:
            metadata = replicaset["metadata"]
            self._server.objects.pop(("replicasets", metadata["namespace"], metadata["name"]), None)

    def _pods(self, replicaset: Object) -> list[Object]:
        found = self._server.all("pods", replicaset["metadata"]["namespace"])
        return [p for p in found if _owns(replicaset, p) and not _failed(p)]

    def _make_pod(self, replicaset: Object) -> None:
        metadata, template = replicaset["metadata"], replicaset["spec"]["template"]
        failure = {"type": "ReplicaFailure", "status": "True", "message": self.refusal}
        replicaset["status"]["conditions"] = [failure] if self.refusal else []
        if self.refusal:
            return
        body = {
            "metadata": {
                "generateName": metadata["name"] + "-",
                "labels": dict(template["metadata"]["labels"]),
                "ownerReferences": [{"kind": "ReplicaSet", "controller": True, "uid": metadata["uid"]}],
            },
            "spec": copy.deepcopy(template["spec"]),
            "status": {"phase": "Pending"},
        }
        self._server.put("pods", metadata["namespace"], body)

    def _end(self, pod: Object) -> None:
        if "deletionTimestamp" in pod["metadata"]:
            return
        pod["metadata"]["deletionTimestamp"] = "now"
        running = self._running.get(pod["metadata"]["name"])
        if running and running.process and running.process.returncode is None:
            running.process.send_signal(signal.SIGTERM)

    # --- the scheduler and the kubelet ---

    async def _tend(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        running = self._running.get(name)
        if "deletionTimestamp" in pod["metadata"]:
            if running is None or running.process is None or running.process.returncode is not None:
                metadata = pod["metadata"]
                self._server.objects.pop(("pods", metadata["namespace"], metadata["name"]), None)
            return
        if _failed(pod) or ("nodeName" not in pod["spec"] and not self._schedule(pod)):
            return
        container = pod["spec"]["containers"][0]
        if running is None:
            running = self._running[name] = Running(self._folder / name)
        if container["image"].split(":")[0] not in self.images:
            message = f'Container image "{container["image"]}" is not present with pull policy of Never'
            running.state = {"waiting": {"reason": "ErrImageNeverPull", "message": message}}
        else:
            await self._keep_alive(container, running)
        await self._report(pod, container, running)

    def _schedule(self, pod: Object) -> bool:
        used = sum(_gpus(p) for p in self._server.all("pods") if "nodeName" in p["spec"] and not _failed(p))
        if used + _gpus(pod) <= self.gpus:
            pod["spec"]["nodeName"] = "node"
            if not self.turns_away:
                return True
            self.turns_away -= 1
            message = "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu"
            pod["status"] = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": message}
            return False
        message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
        pod["status"]["conditions"] = [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        ]
        return False

    async def _keep_alive(self, container: Object, running: Running) -> None:
        process, now = running.process, asyncio.get_running_loop().time()
        if process is not None and process.returncode is None:
            limit = (container.get("resources") or {}).get("limits", {}).get("memory", "")
            if limit.endswith("Mi") and _resident_mib(process.pid) > int(limit[:-2]):
                running.oom = True
                process.kill()
            probe = container.get("startupProbe") or {"failureThreshold": math.inf, "periodSeconds": 1}
            if not running.ready and now - running.began > probe["failureThreshold"] * probe["periodSeconds"]:
                process.terminate()
            return
        if process is not None and "running" in running.state:
            code = process.returncode if process.returncode is not None and process.returncode >= 0 else 137
            reason = "OOMKilled" if running.oom else "Completed" if code == 0 else "Error"
            times = {**running.state["running"], "finishedAt": _clock()}
            running.last = {"terminated": {"exitCode": code, "reason": reason, **times}}
            running.state = dict(running.last)
            # The first restart comes at once, the later ones after a back-off.
            running.wait_until = now + (self.backoff_s if running.restarts else 0.1)
            return
        if process is not None and now < running.wait_until:
            if running.restarts:
                running.state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting"}}
            return
        running.restarts += process is not None
        await self._spawn(container, running)

    async def _spawn(self, container: Object, running: Running) -> None:
        scratch = running.log.with_suffix(".scratch")
        scratch.mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "SCRATCH": str(scratch)}
        given = {one["name"]: one.get("value", "") for one in container.get("env") or []}
        items = [*(container.get("command") or []), *(container.get("args") or [])]
        argv = [re.sub(r"\$\((\w+)\)", lambda name: given.get(name[1], name[0]), item) for item in items]
        if shutil.which(argv[0]) is None:
            message = f"exec: {argv[0]!r}: no such file or directory"
            running.state = {"terminated": {"exitCode": 128, "reason": "StartError", "message": message}}
            return
        with running.log.with_suffix(f".{running.restarts}").open("wb") as log:
            running.process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log, env=environment)
        running.oom = running.ready = False
        running.began = asyncio.get_running_loop().time()
        running.state = {"running": {"startedAt": _clock()}}

    async def _report(self, pod: Object, container: Object, running: Running) -> None:
        ready = running.ready = "running" in running.state and await _probe(container)
        status = {
            "phase": "Running" if running.process else "Pending",
            "podIP": "127.0.0.1",
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "True" if ready else "False"},
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "state": running.state,
                    "lastState": running.last if running.state != running.last else {},
                    "restartCount": running.restarts,
                    "ready": ready,
                }
            ],
        }
        if pod["status"] != status:
            pod["status"] = status
            self._server.touch(pod)


async def _probe(container: Object) -> bool:
    probe = (container.get("readinessProbe") or {}).get("httpGet")
    if probe is None:
        return True
    try:
        timeout = aiohttp.ClientTimeout(total=0.5)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://127.0.0.1:{probe['port']}{probe['path']}") as answer,
        ):
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _failed(pod: Object) -> bool:
    return bool(pod["status"].get("phase") == "Failed")


def _clock() -> str:
    """Now, as the API server writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _owns(owner: Object, item: Object) -> bool:
    return any(r["uid"] == owner["metadata"]["uid"] for r in item["metadata"].get("ownerReferences") or [])


def _ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _gpus(pod: Object) -> int:
    limits = [(c.get("resources") or {}).get("limits") or {} for c in pod["spec"]["containers"]]
    return sum(int(limit.get(_GPU, 0)) for limit in limits)


def _resident_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KIB / 1024
    except (OSError, IndexError):
        return 0.0
