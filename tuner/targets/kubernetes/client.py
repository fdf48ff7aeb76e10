"""A thin layer over the official client: raw objects, explicit content types, timeouts, one retry policy.

Typed models drop the fields they do not know and answers of the raw calls are not checked, so neither is used.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp

from tuner.core.errors import InvalidInput
from tuner.targets.kubernetes import credentials
from tuner.targets.kubernetes.errors import ApiError, NotFound, Unreachable, from_answer
from tuner.targets.kubernetes.resources import ACCESS_REVIEWS, PODS, Resource

if TYPE_CHECKING:
    from kubernetes.aio.client.api_client import ApiClient

Object = dict[str, Any]
MANAGER = "tuner"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_PAGE = 250
_LOG_BYTES = 2_000_000
#: What the kubelet sends as a log, with 200, of a container it has removed meanwhile.
_NO_LOG = b"unable to retrieve container logs for "
_TIMEOUT = aiohttp.ClientTimeout(total=10.0)


@dataclass(frozen=True)
class Retry:
    """When a call is tried again: on connection errors, 429 and 502-504 until `patience_s`, on 500 a few times.

    Only calls that may be repeated are: reads, and writes guarded by a resourceVersion (the second one conflicts).
    """

    patience_s: float = 120.0
    first_s: float = 0.2
    longest_s: float = 5.0
    server_errors: int = 3


class _Answer(NamedTuple):
    status: int
    body: bytes
    retry_after_s: float | None


class Client:
    """Calls to one cluster. `namespace` is the context's own.

    `outage_s` adds up the seconds spent waiting for an API server that did not answer: a rollout's deadline is
    extended by them. All calls raise ApiError or one of its kinds.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        namespace: str = "default",
        retry: Retry | None = None,
        renew: Callable[[], Awaitable[ApiClient]] | None = None,
    ) -> None:
        self._api = api
        self._renew, self._renewing = renew, asyncio.Lock()
        self._retired: ApiClient | None = None
        self.namespace = namespace
        self.retry = retry or Retry()
        self.outage_s = 0.0
        self._counted = 0.0  # until when outages have been added up: several calls wait for the same one

    @classmethod
    async def connect(
        cls, kubeconfig: str | Path | None = None, context: str | None = None, *, retry: Retry | None = None
    ) -> Client:
        """A client by kubeconfig and context as kubectl has them, or by the pod's service account inside a cluster.

        Raises InvalidInput where there is no usable configuration, Unreachable where nothing answers within seconds.
        """
        api, namespace = await credentials.load(kubeconfig, context)

        async def renew() -> ApiClient:
            # Tokens of exec plugins end after minutes and the library loads them only once.
            return (await credentials.load(kubeconfig, context))[0]

        client = cls(api, namespace=namespace or "default", retry=retry, renew=renew)
        try:
            await client._json("GET", "/version", "reach the API server", patience_s=4.0)
        except BaseException:
            await client.close()
            raise
        return client

    async def close(self) -> None:
        """Close connections."""
        for api in (self._api, self._retired):
            if api is not None:
                await api.close()  # type: ignore[no-untyped-call]

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, patience_s: float | None = None
    ) -> Object:
        """One object."""
        what = f"get {resource}/{name}"
        return await self._json("GET", resource.path(namespace, name), what, patience_s=patience_s)

    async def find(
        self, resource: Resource, namespace: str | None, name: str, *, patience_s: float | None = None
    ) -> Object | None:
        """One object, or None where there is none."""
        try:
            return await self.get(resource, namespace, name, patience_s=patience_s)
        except NotFound:
            return None

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        labels: Mapping[str, str] | None = None,
        *,
        patience_s: float | None = None,
    ) -> list[Object]:
        """All objects with these labels, page by page."""
        query = [("limit", str(_PAGE))]
        if labels:
            query.append(("labelSelector", ",".join(f"{key}={value}" for key, value in labels.items())))
        found: list[Object] = []
        token = ""
        while True:
            page = [*query, ("continue", token)] if token else query
            answer = await self._json(
                "GET", resource.path(namespace), f"list {resource}", query=page, patience_s=patience_s
            )
            found += answer.get("items") or []
            token = (answer.get("metadata") or {}).get("continue") or ""
            if not token:
                return found

    async def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        """Create an object; never repeated."""
        query = [("fieldManager", MANAGER), ("fieldValidation", "Strict")]
        path, what = resource.path(namespace), f"create {resource}"
        return await self._json("POST", path, what, query=query, body=body, repeat=False)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Object,
        *,
        content_type: str = STRATEGIC,
        dry_run: bool = False,
        patience_s: float | None = None,
    ) -> Object:
        """Patch an object and return it as it is afterwards.

        Repeated only where `body` has metadata.resourceVersion: if the first try went through unseen, the second is a
        Conflict, and the caller reads what is there.
        """
        query = [("fieldManager", MANAGER), ("fieldValidation", "Strict")]
        if dry_run:
            query.append(("dryRun", "All"))
        guarded = dry_run or bool((body.get("metadata") or {}).get("resourceVersion"))
        return await self._json(
            "PATCH",
            resource.path(namespace, name),
            f"patch {resource}/{name}",
            query=query,
            body=body,
            content_type=content_type,
            repeat=guarded,
            patience_s=patience_s,
        )

    async def delete(self, resource: Resource, namespace: str | None, name: str, version: str | None = None) -> None:
        """Delete an object (only at this resourceVersion, if given); one that is gone is no error."""
        preconditions = {"preconditions": {"resourceVersion": version}} if version else {}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", **preconditions}
        try:
            await self._json("DELETE", resource.path(namespace, name), f"delete {resource}/{name}", body=body)
        except NotFound:
            return

    async def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool = False,
        tail: int | None = None,
        patience_s: float | None = None,
    ) -> str:
        """A container's log from its beginning, or its last `tail` lines; empty where there is none (yet, any more)."""
        query = [("container", container), ("limitBytes", str(_LOG_BYTES))]
        query += [("previous", "true")] if previous else []
        query += [("tailLines", str(tail))] if tail is not None else []
        path, what = PODS.path(namespace, pod, "log"), f"get pods/log of {pod}"
        try:
            answer = await self._call("GET", path, what, query=query, patience_s=patience_s)
        except ApiError as error:
            if error.status in (400, 404, 500):
                return ""
            raise
        return "" if answer.startswith(_NO_LOG) else answer.decode(errors="replace")

    async def allowed(self, verb: str, resource: Resource, namespace: str | None, subresource: str = "") -> bool:
        """Whether the API server would let us."""
        attributes = {
            "verb": verb,
            "group": resource.group,
            "resource": resource.plural,
            "subresource": subresource,
            **({"namespace": namespace} if namespace and resource.namespaced else {}),
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = ACCESS_REVIEWS.path()
        answer = await self._json("POST", path, f"review access to {resource}", body=body)
        return bool((answer.get("status") or {}).get("allowed"))

    async def _json(self, method: str, path: str, what: str, **options: Any) -> Object:
        body = await self._call(method, path, what, **options)
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ApiError(200, f"{what}: what {self._api.configuration.host} answers is not an API server's")
        return answer

    async def _call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Object | None = None,
        content_type: str = "application/json",
        repeat: bool = True,
        patience_s: float | None = None,
    ) -> bytes:
        """One call under the retry policy."""
        policy = self.retry
        began, pause, server_errors, unauthorised = time.monotonic(), policy.first_s, 0, 0
        patience = policy.patience_s if patience_s is None else patience_s
        while True:
            tried, api = time.monotonic(), self._api
            answer, trouble = await self._once(api, method, path, query, body, content_type)
            if answer is not None:
                if 200 <= answer.status < 300:
                    return answer.body
                unauthorised += answer.status == 401
                if answer.status == 401 and unauthorised == 1 and await self._renewed(api):
                    continue
                error = from_answer(answer.status, answer.body, what)
                server_errors += answer.status == 500
                if answer.status not in (429, 500, 502, 503, 504) or server_errors > policy.server_errors:
                    raise error
                trouble = str(error)
                pause = max(pause, answer.retry_after_s or 0.0)
            if not repeat or time.monotonic() - began + pause > patience:
                raise Unreachable(0, f"{what}: {trouble}" if answer is None else trouble)
            await asyncio.sleep(pause)
            now = time.monotonic()
            self.outage_s += now - max(tried, self._counted)
            self._counted = now
            pause = min(2 * pause, policy.longest_s)

    async def _once(
        self,
        api: ApiClient,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: Object | None,
        content_type: str,
    ) -> tuple[_Answer | None, str]:
        headers = {"Accept": "application/json, */*", "Content-Type": content_type}
        try:
            request = await api.param_serialize(
                method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            response = await api.call_api(*request, _request_timeout=_TIMEOUT)
            data = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return None, f"no answer from {api.configuration.host} ({type(error).__name__}: {error})"
        after = str(response.headers.get("Retry-After", ""))
        return _Answer(response.status, data, float(after) if after.isdecimal() else None), ""

    async def _renewed(self, refused: ApiClient) -> bool:
        """Whether there are credentials to try again with, after those of `refused` were not accepted."""
        if self._renew is None:
            return False
        async with self._renewing:
            if self._api is refused:  # otherwise another call has renewed them meanwhile
                try:
                    self._api = await self._renew()
                except InvalidInput:
                    return False
                # Other calls may still be on their way by the one that was refused.
                retired, self._retired = self._retired, refused
                if retired is not None:
                    await retired.close()  # type: ignore[no-untyped-call]
        return True
