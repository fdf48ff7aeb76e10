"""A small API server in this process: real HTTP, and just the behaviours that the Kubernetes target relies on.

Those of 1 to 8 are pinned by tests/e2e/test_contract.py, which runs here and on a real cluster; pod logs, 9 and 10 are
met by whole studies in tests/e2e:

1.  Every write gives a new resourceVersion; a change of a Deployment's spec or annotations (not labels) raises its
    generation; a patch that changes nothing changes neither.
2.  A patch that carries another resourceVersion than the live one: 409 Conflict. Creating what exists: 409 too.
3.  Strategic merge: containers merge by name, args and command are replaced whole, null deletes. Merge patch: objects
    merge, everything else is replaced. A container's list without items is dropped.
4.  strategy Recreate beside rollingUpdate: 422. An unknown field of a Deployment's spec under fieldValidation=Strict:
    400 or 422.
5.  dryRun=All answers as the patch would, and stores nothing.
6.  Deployments get defaults: one replica, RollingUpdate 25 %/25 %, progressDeadlineSeconds 600,
    revisionHistoryLimit 10.
7.  managedFields can be written by a patch of their own. Who owns which field is NOT computed: that is tested on a real
    cluster only (an entry per manager and operation is kept, without fields).
8.  Leases, SelfSubjectAccessReviews (`denied` holds what is not allowed), label selectors, lists in pages; pod logs
    (previous, tail).
9.  Deployments roll out: a ReplicaSet per template found by its hash, pods owned by it, Recreate that ends old pods
    first, rolling updates that start the new pod first; status, conditions and history (see kubelet.py). The current
    ReplicaSet gets the Deployment's annotations, and keeps them when the Deployment loses them.
10. Outages: `stop()` closes the port, `start()` opens it again with everything as it was.

There are no watches: the target uses none.
"""

from __future__ import annotations

import asyncio
import copy
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.kubelet import Node

Object = dict[str, Any]
Key = tuple[str, str, str]  # plural, namespace, name
_SCALERS = {"horizontalpodautoscalers", "scaledobjects"}
_PLURALS = {"deployments", "replicasets", "pods", "services", "leases", "nodes", *_SCALERS}
_SPEC_FIELDS = {
    "minReadySeconds",
    "paused",
    "progressDeadlineSeconds",
    "replicas",
    "revisionHistoryLimit",
    "selector",
    "strategy",
    "template",
}


class Refusal(Exception):
    """An answer other than 2xx."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status, self.reason, self.message = status, reason, message
        super().__init__(message)


class ApiServer:
    """One cluster with one node. `async with ApiServer(folder) as server`, then a client by `server.kubeconfig`."""

    def __init__(self, folder: Path, gpus: int = 4) -> None:
        self.objects: dict[Key, Object] = {}
        #: What our account may not do: (verb, "plural" or "plural/subresource").
        self.denied: set[tuple[str, str]] = set()
        #: Answers to give instead, one per request and in order: (status, Retry-After or None).
        self.troubles: list[tuple[int, str | None]] = []
        #: Called before each patch is applied: for races.
        self.before_patch: list[Any] = []
        #: Mutating admission webhooks: each changes the Deployment that a patch makes, in dry runs too.
        self.webhooks: list[Any] = []
        #: The same, but with side effects: dry runs pass them by.
        self.webhooks_of_writes: list[Any] = []
        #: So many patches of Deployments are stored and their answers lost on the way back.
        self.lost_answers = 0
        self.requests: list[tuple[str, str]] = []
        self.kubeconfig = folder / "kubeconfig"
        self.node = Node(self, folder, gpus)
        self._version = 0
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> ApiServer:
        await self.start()
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._port}"}}],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "ns"}}],
                    "current-context": "c",
                }
            )
        )
        self.node.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.node.stop()
        await self.stop()

    async def start(self) -> None:
        """Open the port: the same one as before after an outage."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port; objects, pods and processes live on."""
        assert self._runner is not None
        await self._runner.cleanup()

    # --- objects ---

    def get(self, plural: str, namespace: str, name: str) -> Object:
        """The stored object itself."""
        try:
            return self.objects[plural, namespace, name]
        except KeyError:
            raise Refusal(404, "NotFound", f'{plural} "{name}" not found') from None

    def all(self, plural: str, namespace: str | None = None) -> list[Object]:
        """The stored objects of a kind."""
        return [o for (p, n, _), o in sorted(self.objects.items()) if p == plural and namespace in (None, n)]

    def put(self, plural: str, namespace: str, body: Object, manager: str = "other") -> Object:
        """Create an object; also used by the node's controllers."""
        metadata = body["metadata"]
        metadata.setdefault("name", metadata.get("generateName", "") + uuid.uuid4().hex[:5])
        key = (plural, namespace, metadata["name"])
        if key in self.objects:
            raise Refusal(409, "AlreadyExists", f'{plural} "{metadata["name"]}" already exists')
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata |= {"namespace": namespace, "uid": uuid.uuid4().hex, "creationTimestamp": now, "generation": 1}
        if plural == "deployments":
            _default(body)
        self._sign(body, manager)
        self.objects[key] = body
        self.touch(body)
        return body

    def touch(self, body: Object) -> None:
        """A write has happened."""
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)

    def change(self, plural: str, namespace: str, name: str, patch: Object, manager: str = "other") -> Object:
        """A strategic merge patch by somebody else."""
        return self._patch((plural, namespace, name), patch, "application/strategic-merge-patch+json", manager, False)

    def _sign(self, body: Object, manager: str) -> None:
        entries = body["metadata"].setdefault("managedFields", [])
        mine = [e for e in entries if e["manager"] == manager and "subresource" not in e]
        entry = {"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1"}
        if not mine:
            entries.append({**entry, "fieldsV1": {}, "time": datetime.now(UTC).isoformat()})

    # --- requests ---

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        if self.troubles:
            status, after = self.troubles.pop(0)
            return web.Response(status=status, text="trouble", headers={"Retry-After": after} if after else {})
        try:
            answer = await self._route(request)
            if self.lost_answers and "/deployments/" in request.path and _writes(request):
                self.lost_answers -= 1
                assert request.transport is not None
                request.transport.close()
        except Refusal as error:
            body = {"kind": "Status", "reason": error.reason, "message": error.message, "code": error.status}
            return web.json_response(body, status=error.status)
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)

    async def _route(self, request: web.Request) -> Object | web.Response:
        if request.path == "/version":
            return {"major": "1", "minor": "34"}
        parts = [part for part in request.path.split("/") if part]
        parts = parts[3:] if parts[0] == "apis" else parts[2:]
        if parts[0] == "selfsubjectaccessreviews":
            return self._review(await request.json())
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        plural, name, subresource = (*parts, None, None)[:3]
        assert plural is not None
        self._authorise(request.method, plural, name, subresource)
        if plural not in _PLURALS:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        if subresource == "log":
            return self._log(request, namespace, str(name))
        return await self._act(request, (plural, namespace, name or ""))

    async def _act(self, request: web.Request, key: Key) -> Object:
        plural, namespace, name = key
        if request.method == "POST":
            return self.put(plural, namespace, await request.json(), request.query["fieldManager"])
        if not name:
            items = self._list(plural, namespace, request.query.get("labelSelector", ""))
            begin, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
            rest = {"continue": str(begin + limit)} if begin + limit < len(items) else {}
            return {"kind": "List", "items": items[begin : begin + limit], "metadata": rest}
        if request.method == "DELETE":
            return self._delete(key, await request.json())
        if request.method == "PATCH":
            for act in list(self.before_patch):
                act(plural, name)
            dry, manager = request.query.get("dryRun") == "All", request.query["fieldManager"]
            return self._patch(key, await request.json(), request.content_type, manager, dry)
        return self.get(plural, namespace, name)

    def _authorise(self, method: str, plural: str, name: str | None, subresource: str | None) -> None:
        verbs = {"GET": "get" if name else "list", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
        what = f"{plural}/{subresource}" if subresource else plural
        if (verbs[method], what) in self.denied:
            message = f'{plural} is forbidden: User "u" cannot {verbs[method]} resource "{what}"'
            raise Refusal(403, "Forbidden", message)

    def _review(self, body: Object) -> Object:
        asked = body["spec"]["resourceAttributes"]
        what = f"{asked['resource']}/{asked['subresource']}" if asked.get("subresource") else asked["resource"]
        return {**body, "status": {"allowed": (asked["verb"], what) not in self.denied}}

    def _list(self, plural: str, namespace: str, selector: str) -> list[Object]:
        wanted = dict(pair.split("=", 1) for pair in selector.split(",") if pair)
        found = self.all(plural, namespace)
        return [o for o in found if wanted.items() <= (o["metadata"].get("labels") or {}).items()]

    def _log(self, request: web.Request, namespace: str, name: str) -> web.Response:
        self.get("pods", namespace, name)
        previous = request.query.get("previous") == "true"
        text = self.node.log(name, request.query["container"], previous)
        if text is None:
            raise Refusal(400, "BadRequest", "container is waiting to start, or no previous terminated container")
        if "tailLines" in request.query:
            text = "".join(text.splitlines(keepends=True)[-int(request.query["tailLines"]) :])
        return web.Response(text=text[: int(request.query["limitBytes"])])

    def _delete(self, key: Key, options: Object) -> Object:
        stored = self.get(*key)
        wanted = (options.get("preconditions") or {}).get("resourceVersion")
        if wanted not in (None, stored["metadata"]["resourceVersion"]):
            raise Refusal(409, "Conflict", "the resourceVersion in the precondition does not match")
        del self.objects[key]
        return {"kind": "Status", "status": "Success"}

    def _patch(self, key: Key, patch: Object, content_type: str, manager: str, dry: bool) -> Object:
        live = self.get(*key)
        guard = (patch.get("metadata") or {}).get("resourceVersion")
        if guard not in (None, live["metadata"]["resourceVersion"]):
            raise Refusal(
                409, "Conflict", "the object has been modified; please apply your changes to the latest version"
            )
        changed = merged(live, patch, strategic=content_type == "application/strategic-merge-patch+json")
        if key[0] == "deployments":
            for webhook in [*self.webhooks, *([] if dry else self.webhooks_of_writes)]:
                webhook(changed)
            _validate(changed)
        if changed == live:
            return live
        if "managedFields" not in (patch.get("metadata") or {}):
            self._sign(changed, manager)
        if key[0] == "deployments" and _generated(changed) != _generated(live):
            changed["metadata"]["generation"] += 1
        if dry:
            return changed
        self.objects[key] = changed
        self.touch(changed)
        return changed


def _generated(deployment: Object) -> tuple[Object, Object]:
    """What a Deployment's generation counts: its annotations too, unlike other kinds."""
    return deployment["spec"], deployment["metadata"].get("annotations") or {}


def _default(deployment: Object) -> None:
    spec = deployment["spec"]
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    defaults = {"replicas": 1, "strategy": rolling, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}
    for name, value in defaults.items():
        spec.setdefault(name, value)
    spec["template"]["spec"].setdefault("terminationGracePeriodSeconds", 30)
    deployment.setdefault("status", {})
    _validate(deployment)


def _validate(deployment: Object) -> None:
    spec = deployment["spec"]
    unknown = set(spec) - _SPEC_FIELDS
    if unknown:
        raise Refusal(422, "Invalid", f'strict decoding error: unknown field "spec.{unknown.pop()}"')
    if spec["strategy"]["type"] == "Recreate" and spec["strategy"].get("rollingUpdate"):
        message = "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"
        raise Refusal(422, "Invalid", message)


def _writes(request: web.Request) -> bool:
    return request.method == "PATCH" and "dryRun" not in request.query


def merged(live: Object, patch: Object, *, strategic: bool) -> Object:
    """What a patch makes of an object; a container's lists without items are dropped, as by a real server."""
    changed: Object = _merge(live, patch, strategic)
    for container in changed.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
        for name in [name for name, value in container.items() if value == []]:
            del container[name]
    return changed


def _merge(live: Any, patch: Any, strategic: bool, key: str = "") -> Any:
    if isinstance(live, dict) and isinstance(patch, dict):
        merged = copy.deepcopy(live)
        for name, value in patch.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = _merge(merged.get(name), value, strategic, name)
                if merged[name] == {} and name not in live:
                    del merged[name]
        return {name: value for name, value in merged.items() if value != {} or name in ("fieldsV1", "status")}
    if strategic and key == "containers" and isinstance(live, list):
        named = {item["name"]: item for item in patch}
        merged_list = [_merge(item, named.pop(item["name"], {}), strategic) for item in live]
        return merged_list + list(named.values())
    if isinstance(patch, dict):
        return _merge({}, patch, strategic)
    return copy.deepcopy(patch)


async def until(condition: Any, timeout_s: float = 10.0) -> Any:
    """Wait for something to become true in this process, and return it."""
    limit = asyncio.get_running_loop().time() + timeout_s
    while not (found := condition()):
        assert asyncio.get_running_loop().time() < limit, "it did not happen in time"
        await asyncio.sleep(0.01)
    return found
