"""Examines engines in manifests and in live objects; changes nothing, asks nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tuner.core.hardware import Gpu, Model
from tuner.engines import ENGINES, Engine
from tuner.podspec import EngineContainer, Shape, UnsupportedShape, find_engine
from tuner.podspec.container import accelerators
from tuner.podspec.documents import Document, load
from tuner.podspec.kinds import expand, object_problem, pod_templates
from tuner.podspec.launch import command_line, launch
from tuner.podspec.shapes import Unsupported
from tuner.study.doctor.finding import Finding, Severity
from tuner.study.doctor.flags import (
    Patient,
    advice_findings,
    flag_findings,
    knob_findings,
    patient,
    suggestions,
    target_info,
)
from tuner.study.doctor.memory import memory_findings
from tuner.study.doctor.rollout import rollout_findings

_SHM = """\
volumes:
  - name: shm
    emptyDir: {medium: Memory}
volumeMounts:   # of the container
  - name: shm
    mountPath: /dev/shm"""
# `${VLLM}`: what a shell, envsubst or a pipeline is to fill in.
_PLACEHOLDER = re.compile(r"\$\{[\w.:/-]+\}")
# Engines that are recognised, to say that they are not tuned yet.
_OTHER_ENGINES = {
    "SGLang": re.compile(r"sglang"),
    "TensorRT-LLM": re.compile(r"tritonserver|trtllm|tensorrt"),
    "Text Generation Inference": re.compile(r"text-generation-(inference|launcher)"),
    "LMDeploy": re.compile(r"lmdeploy"),
}


def examine_file(
    text: str, *, assume_version: str | None = None, gpu: Gpu | None = None, model: Model | None = None
) -> list[Finding]:
    """Findings on a manifest file of any number of documents, in its order. Never raises for what the file holds."""
    documents = load(text)
    found: list[Finding] = []
    services = _services(documents)
    template = False
    for document in documents:
        # A template is one in all its documents: that is said once.
        again = template and document.problem is not None and document.problem.shape is Shape.HELM_TEMPLATE
        if document.problem is not None and not again:
            template = document.problem.shape is Shape.HELM_TEMPLATE
            found.append(_unreadable(document))
        if document.content is not None:
            for item in expand(document.content):
                findings = _object(item, services, assume_version, gpu, model)
                found += [replace(one, line=one.line or _line(text, document, one.subject)) for one in findings]
    if not found:
        found.append(Finding(Severity.NOTE, "file", "engine", "no engine found in it"))
    return found


def _line(text: str, document: Document, subject: str) -> int:
    """The line that a finding is about: where its flag or field stands, else where the document begins."""
    flag = subject.partition("=")[0].partition(" ")[0]
    container = subject.removeprefix("container ")
    if flag.startswith("--"):
        wanted = rf"(?<![\w-]){re.escape(flag)}(?![\w-])"
    elif container != subject:
        wanted = rf"\bname:\s*['\"]?{re.escape(container)}['\"]?\s*($|[,#}}])"
    else:
        wanted = rf"^[\s-]*{re.escape(subject)}:"
    for number, line in enumerate(text.splitlines()[document.line - 1 :], start=document.line):
        if number > document.line and re.match(r"---(\s|$)", line):
            break
        if re.search(wanted, re.sub(r"(^|\s)#.*", "", line)):
            return number
    return document.line


def findings_for(
    deployment: Mapping[str, Any],
    *,
    services: Iterable[str] = (),
    assume_version: str | None = None,
    gpu: Gpu | None = None,
    model: Model | None = None,
) -> list[Finding]:
    """Findings on one Deployment: its engine, flags, memory and knobs, and what its updates will run into.

    `services` are the names of the Services in its namespace, `gpu` is what it runs on and `model` what it serves,
    where known (None: the model's name decides).
    """
    where = _name(deployment)
    problem = object_problem(deployment)
    if problem is not None:
        return [_refused(where, problem)]
    template = deployment["spec"]["template"]
    engine, outcome = _find(template)
    if isinstance(outcome, Unsupported):
        return [_not_found(where, template, outcome)]
    container = _container(template, outcome)
    who = patient(where, engine, outcome, container, assume_version, gpu, model)
    if outcome.hardware_refusal is not None:
        refused = Finding(Severity.BLOCKER, where, "accelerator", outcome.hardware_refusal)
        return _redacted(who, [refused, *advice_findings(who, engine.check(outcome.uses, who.version))])
    about = rollout_findings(where, deployment["spec"], container, outcome, who.port(), tuple(services), engine.name)
    info = target_info(who)
    able = [*memory_findings(who, info), *knob_findings(who, info)]
    return _redacted(who, [*flag_findings(who), *about, *_pod(who, template), *able, *suggestions(who)])


def _object(
    item: Any, services: Sequence[str], assume_version: str | None, gpu: Gpu | None, model: Model | None
) -> list[Finding]:
    problem = object_problem(item)
    if problem is not None:
        return [_refused(_name(item), problem), *_advice_only(item, assume_version)]
    if item["kind"] != "Deployment":
        return []
    found = findings_for(item, services=services, assume_version=assume_version, gpu=gpu, model=model)
    return [*found, *_replicas(item)] if any(finding.subject.startswith("container ") for finding in found) else found


def _find(template: Mapping[str, Any]) -> tuple[Engine, EngineContainer | Unsupported]:
    """The engine that runs here, or why none can be read."""
    refusals = []
    for engine in ENGINES.values():
        try:
            return engine, find_engine(template, engine.owns, engine.syntax())
        except UnsupportedShape as refusal:
            refusals.append((engine, refusal.unsupported))
    named = [entry for entry in refusals if entry[1].shape is not Shape.NO_ENGINE]
    return (named or refusals)[0]


def _container(template: Mapping[str, Any], found: EngineContainer) -> Mapping[str, Any]:
    containers = template["spec"]["containers"]
    return next(container for container in containers if (container.get("name") or "") == found.name)


def _advice_only(item: Any, assume_version: str | None) -> Iterator[Finding]:
    """What is wrong with the flags of an engine that can be read but not tuned where it is."""
    for template in pod_templates(item):
        engine, outcome = _find(template.content)
        if isinstance(outcome, EngineContainer):
            where = f"{_name(item)}, {template.path}" if template.path else _name(item)
            who = patient(where, engine, outcome, _container(template.content, outcome), assume_version)
            yield from _redacted(who, advice_findings(who, engine.check(outcome.uses, who.version)))


def _pod(who: Patient, template: Mapping[str, Any]) -> Iterator[Finding]:
    tensor = next((use.value for use in reversed(who.found.uses) if _is_flag(use.flag, "tensor-parallel-size")), "1")
    mounts = {(mount.get("mountPath") or "").rstrip("/") for mount in who.container.get("volumeMounts") or []}
    if str(tensor).isdigit() and int(str(tensor)) > 1 and "/dev/shm" not in mounts:
        text = "tensor parallel workers share memory through /dev/shm, which has 64 MiB in a pod unless it is mounted"
        yield Finding(Severity.WARNING, who.where, "/dev/shm", text, _SHM)
    for container in template["spec"]["containers"]:
        for variable in container.get("env") or []:
            value, name = variable.get("value"), str(variable.get("name", ""))
            if not value or "$(" in str(value):
                continue
            if any(who.engine.redact(said) != said for said in (str(value), f"{name.upper()}={value}")):
                text = f"container {container.get('name')} has what looks like a secret in plain text in {name}"
                yield Finding(Severity.WARNING, who.where, "env", text, "valueFrom: secretKeyRef")


def _is_flag(flag: Any, name: str) -> bool:
    return flag is not None and flag.name == name


def _replicas(item: Mapping[str, Any]) -> Iterator[Finding]:
    replicas = item["spec"].get("replicas", 1)
    if replicas != 1:
        text = f"{replicas} replicas: one engine is measured at a time"
        instead = "start it first" if replicas == 0 else "tune a copy with one replica, and scale the result"
        yield Finding(Severity.BLOCKER, _name(item), "replicas", text, instead)


def _refused(where: str, problem: Unsupported) -> Finding:
    return Finding(Severity.BLOCKER, where, str(problem.shape), problem.reason, problem.instead)


def _unreadable(document: Document) -> Finding:
    assert document.problem is not None
    severity = Severity.BLOCKER if document.content is None else Severity.WARNING
    return replace(_refused("file", document.problem), severity=severity, line=document.problem_line)


def _not_found(where: str, template: Mapping[str, Any], problem: Unsupported) -> Finding:
    """A refused shape where there is an engine; a note where there is nothing that looks like one."""
    containers = [container for container in template["spec"]["containers"] if isinstance(container, Mapping)]
    words = " ".join(_words(container) for container in containers)
    other = next((name for name, pattern in _OTHER_ENGINES.items() if pattern.search(words)), None)
    names = " and ".join(ENGINES)
    blank = next((found[0] for one in containers if (found := _PLACEHOLDER.search(str(one.get("image", ""))))), None)
    if blank is not None:
        text = f"an image is named by the placeholder {blank}, so nobody can tell what it runs"
        return Finding(Severity.BLOCKER, where, "image", text, "fill it in first: envsubst < FILE | tuner doctor -f -")
    if other is not None:
        return Finding(Severity.BLOCKER, where, "engine", f"it runs {other}; only {names} can be tuned so far")
    if problem.shape is Shape.SEVERAL_ENGINES or any(_engine_like(container) for container in containers):
        return _refused(where, problem)
    return Finding(Severity.NOTE, where, "engine", f"no container runs {names}")


def _engine_like(container: Mapping[str, Any]) -> bool:
    words = _words(container)
    return bool(accelerators(container)) or any(name in words for name in ENGINES)


def _words(container: Mapping[str, Any]) -> str:
    try:
        argv = command_line(container)
        inline = launch([str(item) for item in argv]).inline or ""
    except TypeError:
        argv, inline = [], ""
    return " ".join([str(container.get("image", "")), *(str(item) for item in argv), inline]).lower()


def _redacted(who: Patient, findings: Iterable[Finding]) -> list[Finding]:
    redact = who.engine.redact
    return [
        replace(
            finding,
            subject=redact(finding.subject),
            text=redact(finding.text),
            instead=None if finding.instead is None else redact(finding.instead),
        )
        for finding in findings
    ]


def _services(documents: Iterable[Document]) -> list[str]:
    items = [item for document in documents if document.content is not None for item in expand(document.content)]
    return [_own_name(item) for item in items if isinstance(item, Mapping) and item.get("kind") == "Service"]


def _name(item: Any) -> str:
    if not isinstance(item, Mapping):
        return "document"
    return " ".join(str(part) for part in (item.get("kind"), _own_name(item)) if part) or "document"


def _own_name(item: Mapping[str, Any]) -> str:
    metadata = item.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, Mapping) else ""
