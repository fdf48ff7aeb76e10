"""Deployments under test: rendered from manifests/examples, applied, looked at."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.e2e.support.cluster import ROOT
from tests.e2e.support.kubectl import Kubectl

EXAMPLES = ROOT / "manifests" / "examples"
Document = dict[str, Any]


def render(path: Path, variables: Mapping[str, str]) -> list[Document]:
    """The objects of a manifest with its ${...} filled in; every one must be given."""
    text = "".join(line for line in path.read_text().splitlines(keepends=True) if not line.lstrip().startswith("#"))
    return [dict(document) for document in YAML(typ="safe").load_all(string.Template(text).substitute(variables))]


def container(deployment: Document) -> Document:
    """The first container of a Deployment, to look at or to edit."""
    return deployment["spec"]["template"]["spec"]["containers"][0]


@dataclass(frozen=True)
class Deployed:
    """One Deployment on the cluster."""

    kubectl: Kubectl
    name: str

    @property
    def what(self) -> str:
        """As kubectl names it."""
        return f"deployment/{self.name}"

    def get(self) -> Document:
        """The object as it is now."""
        return self.kubectl.json("get", self.what)

    def wait_until_ready(self, timeout_s: float = 180) -> None:
        """Return once the rollout is complete; the assertion's message shows the pods and their logs."""
        try:
            self.kubectl("rollout", "status", self.what, f"--timeout={int(timeout_s)}s", timeout_s=timeout_s + 10)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.kubectl('get', 'pods')}\n{self.log()[-3000:]}") from None

    def pods(self) -> list[Document]:
        """The pods that its selector finds, those on their way out left out."""
        labels = self.get()["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        pods = self.kubectl.json("get", "pods", "--selector", selector)["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def endpoint(self, port: int = 8000) -> str:
        """The base URL of its one pod."""
        (pod,) = self.pods()
        return f"http://{pod['status']['podIP']}:{port}"

    def log(self, tail: int = 60) -> str:
        """The last lines of its containers' logs; empty where there are none yet."""
        try:
            return self.kubectl("logs", self.what, f"--tail={tail}", "--all-containers")
        except AssertionError as error:
            return str(error)


def deploy(
    kubectl: Kubectl,
    manifest: Path,
    variables: Mapping[str, str],
    *,
    edit: Callable[[Document], None] | None = None,
    manager: str = "e2e",
) -> Deployed:
    """Apply a manifest server-side as `manager`; `edit` changes its Deployment before. Does not wait."""
    deployed = None
    for document in render(manifest, variables):
        if document["kind"] == "Deployment":
            if edit:
                edit(document)
            deployed = Deployed(kubectl, document["metadata"]["name"])
        kubectl.apply(document, manager)
    assert deployed is not None, f"{manifest} has no Deployment"
    return deployed
