"""What a Deployment runs on, as far as labels tell."""

from __future__ import annotations

from tuner.core.errors import InvalidInput
from tuner.core.hardware import Gpu
from tuner.simulator.catalogue import find_gpu
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.errors import ApiError
from tuner.targets.kubernetes.fields import Object
from tuner.targets.kubernetes.resources import NODES

#: Node labels that name the accelerator: NVIDIA's feature discovery, GKE, AKS.
_LABELS = ("nvidia.com/gpu.product", "cloud.google.com/gke-accelerator", "accelerator")


async def gpu_of(client: Client, deployment: Object, node: str) -> tuple[Gpu | None, str]:
    """The GPU by the labels of the engine's node, or of the node selector; and a note where it stays unknown."""
    selector = deployment["spec"]["template"]["spec"].get("nodeSelector") or {}
    labels, note = dict(selector), ""
    if node:
        try:
            found = await client.get(NODES, None, node)
            labels = {**selector, **(found["metadata"].get("labels") or {})}
        except ApiError as error:
            note = f"the GPU's type can't be read from its node ({error}); name it with --gpu"
    name = next((labels[label] for label in _LABELS if label in labels), None)
    if name is None:
        return None, note or "the node's labels do not name its GPU; name it with --gpu"
    try:
        return find_gpu(name), ""
    except InvalidInput as error:
        return None, str(error)
