"""Which kinds of Kubernetes objects hold an engine, and which of them can be edited."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.podspec.schema import DEPLOYMENT, misbuilt
from tuner.podspec.shapes import Shape, Unsupported

_OTHER_WORKLOADS = frozenset(
    {"StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob", "Pod"}
)
_HELM = frozenset({"HelmRelease", "HelmChart", "HelmChartConfig"})
# Objects that run no engine themselves: Kubernetes' own groups, besides the workloads.
_OWN_GROUPS = re.compile(r"v1|(apps|batch|autoscaling|policy)/.*|([a-z.]+\.)?k8s\.io/.*")
# Kinds that hold an engine's settings without a container list.
_ENGINE_RESOURCES = frozenset(
    {
        "InferenceService",
        "LLMInferenceService",
        "LLMInferenceServiceConfig",
        "ServingRuntime",
        "ClusterServingRuntime",
        "LeaderWorkerSet",
        "StormService",
        "RoleBasedGroup",
        "DynamoGraphDeployment",
        "Workspace",
        "Model",
        "ModelDeployment",
        "VLLMRuntime",
    }
)


@dataclass(frozen=True)
class PodTemplate:
    """A pod template somewhere in an object: `path` says where ("spec.template"), `content` has `spec.containers`."""

    path: str
    content: Mapping[str, Any]


def expand(document: Any) -> Iterator[Any]:
    """The document itself, or the items of a `List`."""
    if isinstance(document, Mapping) and str(document.get("kind", "")).endswith("List") and "items" in document:
        items = document["items"]
        for item in items if isinstance(items, list) else []:
            yield from expand(item)
    else:
        yield document


def object_problem(document: Any) -> Unsupported | None:
    """Why an object that holds or configures an engine can't be tuned; None for a Deployment and for objects that
    have nothing to do with engines."""
    if isinstance(document, list):
        return Unsupported(Shape.PATCH_FRAGMENT, "a list of patch operations, not a manifest")
    if not isinstance(document, Mapping):
        return Unsupported(Shape.MALFORMED, "a document is neither an object nor a list")
    kind, version = document.get("kind"), document.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        return _without_kind(document)
    return _deployment(document) if kind == "Deployment" else _other_kind(document, kind, version)


def _other_kind(document: Mapping[str, Any], kind: str, version: str) -> Unsupported | None:
    if kind.startswith("Ray"):
        return Unsupported(Shape.RAY, f"{kind}: the engine runs inside Ray")
    if kind in _HELM:
        return Unsupported(Shape.HELM_VALUES, f"{kind}: values for a chart, not the Deployment itself")
    if kind in _OTHER_WORKLOADS:
        return Unsupported(Shape.OTHER_WORKLOAD, f"{kind}: not a Deployment")
    if kind in _ENGINE_RESOURCES or (not _OWN_GROUPS.fullmatch(version) and any(True for _ in pod_templates(document))):
        return Unsupported(Shape.CUSTOM_RESOURCE, f"{kind} ({version}): its controller owns the pods")
    return None


def pod_templates(document: Any, path: str = "") -> Iterator[PodTemplate]:
    """Every pod template in an object, wherever its kind keeps them, outermost first.

    A mapping with a list of `containers` is a pod's spec; it is given as a template around it.
    """
    if isinstance(document, Mapping):
        containers = document.get("containers")
        if isinstance(containers, list) and any(isinstance(container, Mapping) for container in containers):
            yield PodTemplate(path.removesuffix(".spec"), {"spec": document})
            return
        for key, value in document.items():
            yield from pod_templates(value, f"{path}.{key}".removeprefix("."))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from pod_templates(value, f"{path}[{index}]")


def _without_kind(document: Mapping[str, Any]) -> Unsupported:
    if "apiVersion" in document or "kind" in document:
        missing = "kind" if "apiVersion" in document else "apiVersion"
        return Unsupported(Shape.MALFORMED, f"an object has no {missing}")
    return Unsupported(Shape.HELM_VALUES, "no apiVersion and kind: a values or configuration file, not a manifest")


def _deployment(document: Mapping[str, Any]) -> Unsupported | None:
    spec = document.get("spec")
    template = spec.get("template") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(template, Mapping):
        return Unsupported(Shape.MALFORMED, "a Deployment has no spec.template")
    pod = template.get("spec")
    containers = pod.get("containers") if isinstance(pod, Mapping) else None
    if not isinstance(containers, list) or not containers:
        return Unsupported(Shape.MALFORMED, "a Deployment has no list of containers under spec.template.spec")
    if "selector" not in spec and not any(isinstance(one, Mapping) and "image" in one for one in containers):
        return Unsupported(Shape.PATCH_FRAGMENT, "a Deployment without selector and image: a patch, not the whole")
    if any(_templated(container) for container in containers):
        return Unsupported(Shape.HELM_TEMPLATE, "a container has placeholders in double braces")
    return misbuilt(document, DEPLOYMENT)


def _templated(container: Any) -> bool:
    if not isinstance(container, Mapping):
        return False
    lists = [part for name in ("command", "args") if isinstance(part := container.get(name), list)]
    items = [container.get("image"), *itertools.chain(*lists)]
    return any(isinstance(item, str) and re.search(r"\{\{\s*[.\w-]+.*?\}\}", item) for item in items)
