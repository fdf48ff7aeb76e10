"""What is exported, given to a real API server."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests.e2e.support.kubectl import Kubectl, KubectlFailed
from tuner.export import FORMATS, Result

pytestmark = pytest.mark.cluster

QUIET = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "quiet"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "quiet"}},
        "template": {
            "metadata": {"labels": {"app": "quiet"}},
            "spec": {
                "containers": [
                    {"name": "side", "image": "localhost/none:1", "args": ["--b=1"]},
                    {
                        "name": "engine",
                        "image": "localhost/none:1",
                        "args": ["--a=1"],
                        "env": [{"name": "TOKEN", "value": "t0ken"}],
                    },
                ]
            },
        },
    },
}


def test_a_manifest_applied_server_side_changes_the_flags_and_nothing_else(kubectl: Kubectl, tmp_path: Path) -> None:
    before = kubectl.apply(QUIET, "helm")
    result = Result(
        study="s",
        date="today",
        gain="",
        engine="vllm",
        namespace=str(kubectl.namespace),
        deployment="quiet",
        container="engine",
        original={"args": ["--a=1"]},
        changed={"args": ["--a=2"]},
        edits=[],
        selector=before["spec"]["selector"],
    )
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(FORMATS["yaml"].write(result))
    command = ["apply", "--server-side", "--field-manager=tuner", "-f", str(manifest)]
    with pytest.raises(KubectlFailed, match='conflict with "helm"'):
        kubectl(*command)
    kubectl(*command, "--force-conflicts")
    wanted = copy.deepcopy(before["spec"])
    wanted["template"]["spec"]["containers"][1]["args"] = ["--a=2"]
    assert kubectl.json("get", "deployment", "quiet")["spec"] == wanted
