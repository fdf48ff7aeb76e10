"""kubectl as a function: the tests look at the cluster through it, and never through the code under test."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


class KubectlFailed(AssertionError):
    """kubectl ended with an error; the message has its command and its standard error."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl on one cluster, and in one namespace where that is set."""

    kubeconfig: Path
    namespace: str | None = None

    def within(self, namespace: str) -> Kubectl:
        """The same cluster, in `namespace`."""
        return replace(self, namespace=namespace)

    def __call__(self, *arguments: str, stdin: str | None = None, timeout_s: float = 90) -> str:
        """Run one command and return its standard output. Raises KubectlFailed."""
        where = ["--namespace", self.namespace] if self.namespace else []
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *where, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode != 0:
            raise KubectlFailed(f"{' '.join(command)}\n{done.stderr.strip()}")
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """Run one command with `-o json`, managed fields included."""
        return json.loads(self(*arguments, "-o", "json", "--show-managed-fields"))

    def apply(self, document: dict[str, Any], manager: str = "e2e") -> dict[str, Any]:
        """Apply one object server-side as `manager`, and return it as it is then."""
        text = self(
            "apply", "--server-side", f"--field-manager={manager}", "-f", "-", "-o", "json", stdin=json.dumps(document)
        )
        return json.loads(text)

    def patch(self, what: str, body: dict[str, Any], *options: str) -> None:
        """Patch `what` ("deployment/x"); a strategic merge, unless the options say otherwise."""
        self("patch", what, "--patch", json.dumps(body), *options)
