"""Against real manifests, public start-up figures and a scrape of the real engine."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tuner.core.cause import Cause
from tuner.engines import engine_named
from tuner.engines.engine import Exit
from tuner.engines.vllm.options import options
from tuner.podspec.container import find_engine
from tuner.podspec.flags import parse
from tuner.podspec.launch import launch
from tuner.podspec.shapes import UnsupportedShape

VLLM = engine_named("vllm")
SYNTAX = VLLM.syntax()
FOLDER = os.environ.get("TUNER_REFERENCE_DATA")
pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(FOLDER is None, reason="TUNER_REFERENCE_DATA is not set"),
]
DATA = Path(FOLDER or ".")


def containers(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get("image"), str) and ("args" in node or "command" in node):
            yield node
        for value in node.values():
            yield from containers(value)
    elif isinstance(node, list):
        for value in node:
            yield from containers(value)


def engines_found() -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    for path in sorted((DATA / "manifests").glob("*.yaml")):
        try:
            documents = list(YAML(typ="safe").load_all(path.read_text(encoding="utf-8")))
        except YAMLError:
            continue
        for container in containers(documents):
            argv = [
                str(item)
                for part in ("command", "args")
                if isinstance(container.get(part), list)
                for item in container[part]
            ]
            if VLLM.owns(container["image"], argv) and launch(argv).inline is None:
                yield path.name, container, argv


def test_every_vllm_flag_of_the_manifests_is_known_or_gets_advice() -> None:
    seen = 0
    for name, _, argv in engines_found():
        uses = parse(argv, SYNTAX, launch(argv).start)
        advised = {advice.flag for advice in VLLM.check(uses, None)}
        for use in uses:
            seen += 1
            known = use.flag is not None and options().find(use.flag.name) is not None
            assert known or use.text in advised, f"{name}: {use.text}"
    assert seen > 80


def test_no_current_flag_of_the_manifests_is_called_unknown() -> None:
    """What real users run and 0.32 takes must not be complained about, but for what is really wrong there."""
    complaints = {
        (name, advice.flag.split("=")[0].split(" ")[0])
        for name, _, argv in engines_found()
        for advice in VLLM.check(parse(argv, SYNTAX, launch(argv).start), None)
    }
    allowed = {"--disable-log-requests", "--swap-space", "--num-scheduler-steps", "--device", "--task"}
    assert {flag for _, flag in complaints} <= allowed | {"--speculative-model", "--num-speculative-tokens"}, complaints


def test_the_recipe_of_the_first_users_is_explained_and_translated() -> None:
    (document,) = YAML(typ="safe").load_all((DATA / "manifests/recipe/vllm.yaml").read_text(encoding="utf-8"))
    template = document["spec"]["template"]
    engine = find_engine(template, VLLM.owns, SYNTAX)
    for version, word in ((None, "does not know"), ("0.6.0", "takes it, current versions do not")):
        advice = VLLM.check(engine.uses, version)
        assert [entry.flag.split("=")[0] for entry in advice] == [
            "--speculative-model",
            "--num-speculative-tokens",
            "--disable-log-requests",
            "--enforce-eager",
        ]
        assert all(word in entry.problem for entry in advice[:3])
        assert all(entry.instead for entry in advice)
    knobs, fixed = VLLM.read(engine.uses)
    assert knobs["num_speculative_tokens"] == 5
    assert knobs["max_num_seqs"] == 64
    assert "Llama-3-8B" in str(fixed["speculative_config"])


def test_a_scrape_of_the_real_engine() -> None:
    text = (DATA / "vllm-cpu/metrics_0.32.txt").read_text(encoding="utf-8")
    counters = VLLM.counters(text)
    assert counters["requests"] == 7
    assert {"running", "waiting", "kv_usage", "preemptions", "prefix_hits"} <= counters.keys()
    facts = VLLM.facts("", text)
    assert facts.kv_cache_tokens == 1048576
    assert facts.kv_cache_gib == 1.0
    assert facts.settings == {
        "block_size": 128,
        "kv_cache_dtype": "auto",
        "enable_prefix_caching": True,
        "gpu_memory_utilization": 0.92,
    }


def test_refusals_seen_in_public_logs_have_their_causes() -> None:
    wanted = {"oom_startup": Cause.GPU_OOM_AT_START, "kv_too_small": Cause.KV_CACHE_TOO_SMALL}
    with (DATA / "truth/memory.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["outcome"] in wanted and "Error" in row["exact_message"]]
    assert len(rows) > 10
    for row in rows:
        failure = VLLM.diagnose(row["exact_message"], Exit(1, "Error"), under_load=False)
        assert failure.cause is wanted[row["outcome"]], row["exact_message"]


def test_unsupported_shapes_are_still_owned() -> None:
    """A shell string that runs vLLM is vLLM's, so that it can be refused by name."""
    owned = 0
    for path in sorted((DATA / "manifests").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if "vllm serve" not in text:
            continue
        try:
            documents = list(YAML(typ="safe").load_all(text))
        except YAMLError:
            continue
        for container in containers(documents):
            argv = [
                str(item)
                for part in ("command", "args")
                if isinstance(container.get(part), list)
                for item in container[part]
            ]
            if launch(argv).inline and "vllm serve" in " ".join(argv):
                assert VLLM.owns(container["image"], argv), path.name
                with pytest.raises(UnsupportedShape):
                    find_engine({"spec": {"containers": [container]}}, VLLM.owns, SYNTAX)
                owned += 1
    assert owned > 3
