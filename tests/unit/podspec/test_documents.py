from __future__ import annotations

from typing import Any

import pytest

from tuner.podspec.documents import load
from tuner.podspec.kinds import expand, object_problem, pod_templates
from tuner.podspec.shapes import Shape

CONTAINER = {"name": "engine", "image": "vllm/vllm-openai:v1", "args": ["--port=1"]}


def deployment(**container: Any) -> dict[str, Any]:
    spec = {"selector": {}, "template": {"spec": {"containers": [{**CONTAINER, **container}]}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


def test_several_documents_are_read_with_their_first_lines() -> None:
    documents = load("# a comment\n---\na: 1\n--- # second\nb: 2\n---\n---\n- 3\n")
    assert [(document.line, document.content) for document in documents] == [(3, {"a": 1}), (5, {"b": 2}), (8, [3])]


def test_one_malformed_document_does_not_hide_the_others() -> None:
    bad, good = load("a: [1\nb: 2\n---\nc: 3\n")
    assert bad.problem is not None
    assert (bad.content, bad.problem.shape, bad.problem_line) == (None, Shape.MALFORMED, 2)
    assert good.content == {"c": 3}


@pytest.mark.parametrize(
    ("text", "shape", "line"),
    [
        ("x: 1\n---\nargs:\n<<<<<<< HEAD\n- a\n=======\n- b\n>>>>>>> other\n", Shape.MERGE_CONFLICT, 4),
        ("{{- if .Values.x }}\na: 1\n{{- end }}\n", Shape.HELM_TEMPLATE, 1),
        ("a: 1\ntoken: {{HF_TOKEN}}\n", Shape.HELM_TEMPLATE, 2),
        ("a: 1\n b: 2\n", Shape.MALFORMED, 2),
        ("a:\n\tb: x\n", Shape.MALFORMED, 2),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text: str, shape: Shape, line: int) -> None:
    document = load(text)[-1]
    assert document.problem is not None
    assert (document.problem.shape, document.problem_line) == (shape, line)
    assert str(line) in document.problem.reason


def test_a_tab_at_the_end_of_a_line_is_no_mistake() -> None:
    assert load("a: LoadBalancer\t\nb: 1 \t \n")[0].content == {"a": "LoadBalancer", "b": 1}


def test_a_key_given_twice_is_told_without_its_values() -> None:
    (document,) = load("env:\n  TOKEN: first-secret\n  TOKEN: second-secret\n")
    assert document.content == {"env": {"TOKEN": "first-secret"}}
    assert document.problem is not None
    assert (document.problem_line, "'TOKEN'" in document.problem.reason) == (3, True)
    assert "secret" not in document.problem.reason


@pytest.mark.parametrize(
    ("document", "shape"),
    [
        ([{"op": "add", "path": "/spec", "value": 1}], Shape.PATCH_FRAGMENT),
        ({"servingEngineSpec": {}}, Shape.HELM_VALUES),
        ({"apiVersion": "v1"}, Shape.MALFORMED),
        ("text", Shape.MALFORMED),
        ({"apiVersion": "apps/v1", "kind": "StatefulSet"}, Shape.OTHER_WORKLOAD),
        ({"apiVersion": "ray.io/v1", "kind": "RayService"}, Shape.RAY),
        ({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease"}, Shape.HELM_VALUES),
        ({"apiVersion": "serving.kserve.io/v1", "kind": "InferenceService"}, Shape.CUSTOM_RESOURCE),
        ({"apiVersion": "example.com/v1", "kind": "X", "spec": {"a": [{"containers": [{}]}]}}, Shape.CUSTOM_RESOURCE),
        ({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}}, Shape.MALFORMED),
        (
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "spec": {"template": {"spec": {"affinity": {"containers": [CONTAINER]}}}},
            },
            Shape.MALFORMED,
        ),
        (
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "spec": {"template": {"spec": {"containers": [{"name": "x", "args": []}]}}},
            },
            Shape.PATCH_FRAGMENT,
        ),
        (deployment(image="{{ .Values.image }}:1"), Shape.HELM_TEMPLATE),
    ],
)
def test_objects_that_cannot_be_tuned_are_named(document: Any, shape: Shape) -> None:
    problem = object_problem(document)
    assert problem is not None
    assert problem.shape is shape


@pytest.mark.parametrize(
    "document",
    [
        deployment(),
        deployment(args=['--chat-template={{"a": 1}}']),  # braces of JSON in Jinja are no placeholder
        {"apiVersion": "v1", "kind": "Service"},
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"},
        {"apiVersion": "example.com/v1", "kind": "Unrelated", "spec": {}},
    ],
)
def test_other_objects_pass(document: Any) -> None:
    assert object_problem(document) is None


def test_a_list_is_its_items() -> None:
    assert list(expand({"kind": "List", "items": [{"kind": "DeploymentList", "items": [{"a": 1}]}, {"b": 2}]})) == [
        {"a": 1},
        {"b": 2},
    ]


def test_pod_templates_are_found_wherever_a_kind_keeps_them() -> None:
    pod = {"containers": [CONTAINER]}
    document = {"spec": {"leaderTemplate": {"spec": pod}, "groups": [{"template": {"spec": pod}}]}}
    found = list(pod_templates(document))
    assert [template.path for template in found] == ["spec.leaderTemplate", "spec.groups[0].template"]
    assert all(template.content == {"spec": pod} for template in found)
