"""Images for the cluster, built from this checkout."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from tests.e2e.support.alone import alone
from tests.e2e.support.cluster import ROOT, Cluster

KIND_NAME = "tuner-e2e"


def build(cluster: Cluster, name: str, context: Path, *options: str) -> str:
    """Build `context`'s Dockerfile and bring it into the cluster; returns the name.

    TUNER_E2E_IMAGE_BUILDER is a command that does both (NAME CONTEXT OPTIONS...); with kind it is docker's and kind's.
    """
    if builder := os.environ.get("TUNER_E2E_IMAGE_BUILDER"):
        commands = [[*shlex.split(builder), name, str(context), *options]]
    elif cluster.kind:
        commands = [
            ["docker", "build", "--tag", name, *options, str(context)],
            ["kind", "load", "docker-image", name, "--name", KIND_NAME],
        ]
    else:
        raise AssertionError(f"TUNER_E2E_IMAGE_BUILDER is not set: a command that builds {name} and loads it")
    with alone("images"):
        for command in commands:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
            assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return name
