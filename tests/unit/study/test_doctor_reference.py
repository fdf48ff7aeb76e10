"""The doctor on manifests that people have published."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.study.test_doctor import about, one
from tuner.podspec.documents import load
from tuner.podspec.kinds import pod_templates
from tuner.study.doctor import Severity, examine_file

DATA = os.environ.get("TUNER_REFERENCE_DATA")
reference = pytest.mark.skipif(DATA is None, reason="TUNER_REFERENCE_DATA is not set")


@pytest.mark.reference
@reference
def test_every_reference_manifest_gets_findings_and_shows_no_value_of_the_environment() -> None:
    files = sorted((Path(DATA or "") / "manifests").rglob("*.yaml"))
    assert files
    for file in files:
        text = file.read_text()
        findings = examine_file(text)
        assert findings, file.name
        shown = " ".join(f"{finding.subject} {finding.text} {finding.instead}" for finding in findings)
        assert "my-secret-key" not in shown
        assert "token-abc123" not in shown
        for document in load(text):
            for value in environment(document.content):
                assert value not in shown, file.name


def environment(content: Any) -> Iterator[str]:
    """Literal values of environment variables that are long enough not to be anything else too."""
    for template in pod_templates(content):
        for container in template.content["spec"]["containers"]:
            arguments = str([container.get("command"), container.get("args")])
            values = [str(variable.get("value", "")) for variable in container.get("env") or []]
            yield from (value for value in values if len(value) > 8 and value not in arguments)


@pytest.mark.reference
@reference
def test_the_published_recipe_is_translated() -> None:
    findings = examine_file((Path(DATA or "") / "manifests" / "recipe" / "vllm.yaml").read_text())
    assert one(findings, "--enforce-eager=false").severity is Severity.BLOCKER
    translated = yaml.safe_load(about(findings, "args")[-1].instead or "")["args"]
    assert translated[-1] == (
        '--speculative-config={"method":"draft_model","model":"meta-llama/Llama-3-8B","num_speculative_tokens":5}'
    )
    assert len(translated) == 9
