"""The cluster that tests run on: the one that TUNER_E2E_KUBECONFIG names, else one that kind makes, else none."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.support.alone import alone
from tests.e2e.support.kubectl import Kubectl, KubectlFailed
from tests.e2e.support.requirement import missing

ROOT = Path(__file__).resolve().parents[3]
KIND = ROOT / "manifests" / "kind" / "up"


@dataclass(frozen=True)
class Cluster:
    """A real cluster, and what belongs to the way it was made."""

    kubeconfig: Path
    kind: bool = False

    @property
    def kubectl(self) -> Kubectl:
        """kubectl outside any namespace."""
        return Kubectl(self.kubeconfig)

    @contextmanager
    def namespace(self) -> Iterator[Kubectl]:
        """A fresh namespace. At the end its pods are gone: an engine left behind would slow the next test down."""
        name = f"e2e-{secrets.token_hex(4)}"
        self.kubectl("create", "namespace", name)
        kubectl = self.kubectl.within(name)
        try:
            yield kubectl
        finally:
            with suppress(KubectlFailed):
                # Orphans first: what a controller deletes has the whole grace period of its template.
                kubectl("delete", "deployments,replicasets", "--all", "--cascade=orphan")
                kubectl("delete", "pods", "--all", "--grace-period=1", "--timeout=60s")
            self.kubectl("delete", "namespace", name, "--wait=false")

    @contextmanager
    def outage(self) -> Iterator[None]:
        """The API server is down inside, and up again (with its node Ready) afterwards."""
        control = os.environ.get("TUNER_E2E_APISERVER")
        if not control:
            missing(
                "TUNER_E2E_APISERVER is not set: a command that takes `stop` and `start` and acts on the API server"
            )
        try:
            subprocess.run([control, "stop"], check=True, timeout=90)
            yield
        finally:
            subprocess.run([control, "start"], check=True, timeout=60)
            self.wait_until_up()

    def wait_until_up(self, timeout_s: float = 90) -> None:
        """Return once the API server answers and every node is Ready."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=30s")
                return
            except (KubectlFailed, subprocess.TimeoutExpired):
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)


def find_cluster() -> Cluster:
    """The cluster of this run; ends the test run's cluster tests where there is none."""
    if not shutil.which("kubectl"):
        missing("kubectl is not on the PATH")
    if path := os.environ.get("TUNER_E2E_KUBECONFIG"):
        if not Path(path).is_file():
            missing(f"TUNER_E2E_KUBECONFIG={path}: there is no such file")
        return Cluster(Path(path))
    if not (shutil.which("kind") and shutil.which("docker")):
        missing("no cluster: set TUNER_E2E_KUBECONFIG, or install kind and docker")
    with alone("kind"):
        done = subprocess.run([KIND], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        missing(f"{KIND.relative_to(ROOT)} failed: {done.stderr.strip()[-500:]}")
    return Cluster(Path(done.stdout.strip().splitlines()[-1]), kind=True)
