"""Who else writes a Deployment: owners that would undo a trial, autoscalers that would scale it, package managers."""

from __future__ import annotations

from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.errors import Forbidden, NotFound
from tuner.targets.kubernetes.fields import Object
from tuner.targets.kubernetes.resources import HPAS, SCALED_OBJECTS, Resource

_RECONCILE = "kustomize.toolkit.fluxcd.io/reconcile"
_PAUSED = "autoscaling.keda.sh/paused"
_EXPORT = "let the tuner measure a copy without that owner, or export the result and change the source"


def writers(deployment: Object) -> tuple[list[str], list[str]]:
    """Owners that would fight back (each with the way round), and notes on those that would not."""
    metadata = deployment["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    managers = {entry.get("manager", "") for entry in metadata.get("managedFields") or []}
    refusals = [
        f"owned by {r['kind']} {r['name']}, which would undo the tuner's changes; {_EXPORT}"
        for r in metadata.get("ownerReferences") or []
        if r.get("controller")
    ]
    notes: list[str] = []
    argo = "argocd.argoproj.io/tracking-id" in annotations or "argocd.argoproj.io/instance" in labels
    if argo or any(manager.startswith("argocd-") for manager in managers):
        refusals.append(f"synchronised by Argo CD, whose self-heal would undo the tuner's changes; {_EXPORT}")
    if "helm.toolkit.fluxcd.io/name" in labels:
        name = labels["helm.toolkit.fluxcd.io/name"]
        refusals.append(f"released by Flux (HelmRelease {name}), which would undo the tuner's changes; {_EXPORT}")
    if "kustomize.toolkit.fluxcd.io/name" in labels:
        name = labels["kustomize.toolkit.fluxcd.io/name"]
        if annotations.get(_RECONCILE) == "disabled":
            notes.append(f"Flux (Kustomization {name}) is switched off for this object by its annotation {_RECONCILE}")
        else:
            refusals.append(
                f"applied by Flux (Kustomization {name}), which would undo the tuner's changes; "
                f"annotate it with {_RECONCILE}=disabled for the time of the study, or export the result"
            )
    reloader = [
        key for key in annotations if key.startswith("reloader.stakater.com/") or ".reloader.stakater.com" in key
    ]
    if reloader:
        refusals.append(
            f"restarted by Reloader when a ConfigMap or Secret changes ({', '.join(sorted(reloader))}); "
            "take the annotation off for the time of the study"
        )
    release = annotations.get("meta.helm.sh/release-name")
    if release and "helm.toolkit.fluxcd.io/name" not in labels:
        notes.append(
            f"installed by Helm (release {release}): do not upgrade it during the study; values and field ownership "
            "are given back at the end, so that the next upgrade finds what it left"
        )
    return refusals, notes


async def scalers(client: Client, deployment: Object) -> list[str]:
    """Autoscalers of a Deployment as refusals. Where the right to list them is missing, `permissions` says so."""
    scaled = "which would start copies or none while it is measured"
    hpas = [
        f"scaled by HorizontalPodAutoscaler {item['metadata']['name']}, {scaled}; for the time of the study delete it "
        "or set its minReplicas and maxReplicas to 1"
        for item in await _targeting(client, HPAS, deployment)
        if (item["spec"].get("minReplicas", 1), item["spec"].get("maxReplicas")) != (1, 1)
    ]
    keda = [
        f"scaled by KEDA ScaledObject {item['metadata']['name']}, {scaled}; for the time of the study annotate it with "
        f"{_PAUSED}=true"
        for item in await _targeting(client, SCALED_OBJECTS, deployment)
        if not _paused(item["metadata"].get("annotations") or {})
    ]
    return hpas + keda


def _paused(annotations: dict[str, str]) -> bool:
    """Whether KEDA leaves its target alone, at the one replica that is measured."""
    return annotations.get(_PAUSED) == "true" or annotations.get(f"{_PAUSED}-replicas") == "1"


async def _targeting(client: Client, resource: Resource, deployment: Object) -> list[Object]:
    name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
    try:
        items = await client.list(resource, namespace)
    except (NotFound, Forbidden):  # this cluster has no such kind, or we may not look
        return []
    found = []
    for item in items:
        target = item["spec"].get("scaleTargetRef") or {}
        if target.get("name") == name and target.get("kind", "Deployment") == "Deployment":
            found.append(item)
    return found
