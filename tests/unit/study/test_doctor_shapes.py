"""What is no manifest, and what only looks like one, is told by its path and ends in no traceback."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.unit.study.test_doctor import HEALTHY
from tuner.study.doctor import Severity, examine_file, findings_for


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside another one."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from nodes(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    changed = copy.copy(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], by)
    return changed


@pytest.mark.parametrize("by", [None, 5, 2.5, True, "x", [], {}, [None], {"name": 5}])
def test_no_value_in_the_wrong_place_ends_in_a_traceback(by: Any) -> None:
    whole = copy.deepcopy(HEALTHY)
    container = whole["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "A", "value": "1"}]
    container["volumeMounts"] = [{"name": "shm", "mountPath": "/dev/shm"}]
    container["startupProbe"] = {"tcpSocket": {"port": 8000}, "periodSeconds": 5, "failureThreshold": 9}
    whole["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}}
    whole["spec"]["progressDeadlineSeconds"] = 600
    for path in nodes(whole):
        assert findings_for(replaced(whole, path, by)) is not None, path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("replicas: ${N}", "spec.replicas is text, not a whole number"),
        ("strategy: 5", "spec.strategy is an int, not a mapping"),
        ("template: {spec: {containers: [{name: e, image: vllm/vllm-openai, ports: 8000}]}}", "ports is an int"),
        ("template: {spec: {containers: [null]}}", "spec.template.spec.containers[0] is empty, not a mapping"),
        ("replicas: '{{ .Values.n }}'", "spec.replicas has a placeholder in double braces"),
    ],
)
def test_a_field_of_the_wrong_kind_is_told_by_its_path(text: str, said: str) -> None:
    whole = copy.deepcopy(HEALTHY)
    whole["spec"] |= yaml.safe_load(text)
    (finding,) = findings_for(whole)
    assert finding.severity is Severity.BLOCKER
    assert said in finding.text


def test_a_list_and_a_service_of_the_wrong_shape_hide_nothing() -> None:
    broken = [{"apiVersion": "v1", "kind": "List", "items": 5}, {"kind": "Service", "metadata": 5}]
    text = yaml.dump_all([*broken, HEALTHY])
    assert any(finding.subject == "container engine" for finding in examine_file(text))
