"""What a Deployment runs on and serves, as far as labels, names and a running engine tell."""

from __future__ import annotations

import itertools
import re

import httpx

from tuner.core.errors import InvalidInput
from tuner.core.hardware import Gpu, Model
from tuner.simulator.catalogue import find_gpu, find_model
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.errors import ApiError
from tuner.targets.kubernetes.fields import Object
from tuner.targets.kubernetes.resources import NODES

#: Node labels that name the accelerator: NVIDIA's feature discovery, GKE, AKS.
_LABELS = ("nvidia.com/gpu.product", "cloud.google.com/gke-accelerator", "accelerator")
_TAG = re.compile(r":v?(\d+\.\d+(?:\.\d+)?)(?:[-.+]|$)")
_SERVE = re.compile(r"serve$")


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


def model_of(name: str) -> Model | None:
    """The shape of a model by its name or path, where the catalogue has it."""
    try:
        return find_model(name)
    except InvalidInput:
        return None


def positional_model(argv: tuple[str, ...]) -> str | None:
    """The MODEL of `... serve MODEL ...`."""
    for item, following in itertools.pairwise(argv):
        if _SERVE.search(item) and not following.startswith("-"):
            return following
    return None


def version_of(image: str) -> str | None:
    """The engine's version by its image's tag, where that is one."""
    match = _TAG.search(image.rsplit("@", 1)[0])
    return match[1] if match else None


async def running_version(base: str) -> str | None:
    """The version that a running engine reports; None where it does not answer at once."""
    try:
        async with httpx.AsyncClient(base_url=base, timeout=2.0, trust_env=False) as http:
            answer = await http.get("/version")
            found = answer.json().get("version") if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError, AttributeError):
        return None
    return str(found) if found else None
