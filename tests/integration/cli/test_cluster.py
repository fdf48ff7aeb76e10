"""Commands that look at a cluster: what they say of one that is fine, closed, gone, or not what was meant."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import ApiServer, until
from tests.support.command_line import Said, call, command, environment
from tests.support.engines import engine


@dataclass
class Cluster:
    """A cluster with one engine, and the command line pointed at it."""

    server: ApiServer
    home: Path

    @property
    def deployment(self) -> dict[str, Any]:
        """The engine's Deployment as it is stored now."""
        return self.server.get("deployments", "ns", "llm")

    async def tuner(self, *arguments: str) -> Said:
        """Run a command with nobody at the keyboard."""
        arguments = (*arguments, "--kubeconfig", str(self.server.kubeconfig))
        return await asyncio.wait_for(asyncio.to_thread(call, *arguments), 40)

    async def asked(self, answer: bytes | signal.Signals) -> Said:
        """Begin a study in a terminal, and answer its question."""
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *command("start", "llm", "--kubeconfig", str(self.server.kubeconfig)),
            env=environment(self.home),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        seen = b""
        while b"Begin?" not in seen:
            seen += await asyncio.to_thread(os.read, ours, 4096)
        if isinstance(answer, bytes):
            os.write(ours, answer)
        else:
            process.send_signal(answer)
        code = await asyncio.wait_for(process.wait(), 20)
        try:
            while more := os.read(ours, 4096):
                seen += more
        except OSError:  # a terminal whose other side is closed
            os.close(ours)
        return Said(code, seen.decode(), "")


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setenv("TUNER_STORAGE", f"sqlite:///{tmp_path}/t.db")
    async with ApiServer(tmp_path) as server:
        server.put("deployments", "ns", engine(), "helm")
        running = Cluster(server, tmp_path)
        await until(lambda: bool((running.deployment.get("status") or {}).get("readyReplicas")))
        yield running


async def test_the_doctor_finds_the_engine_of_a_namespace(cluster: Cluster) -> None:
    cluster.server.denied.add(("list", "services"))  # which this server does not have
    said = await cluster.tuner("doctor", "-o", "json")
    assert said.code == 0
    found = json.loads(said.out)
    assert any(one["subject"] == "max_num_seqs" and one["severity"] == "ok" for one in found)
    assert {one["where"] for one in found} == {"Deployment llm"}


async def test_a_namespace_without_an_engine_is_bad_input(cluster: Cluster) -> None:
    said = await cluster.tuner("doctor", "-n", "empty")
    assert said.code == 2
    assert "namespace empty: no Deployment runs vllm; -n names another one" in said.err


async def test_a_missing_deployment_is_named(cluster: Cluster) -> None:
    said = await cluster.tuner("start", "nothere", "--yes")
    assert said.code == 3
    assert "there is no Deployment nothere in namespace ns" in said.err


async def test_a_missing_right_is_refused_with_where_to_find_it(cluster: Cluster) -> None:
    cluster.server.denied.add(("list", "deployments"))
    said = await cluster.tuner("start", "-n", "ns", "--yes")
    assert said.code == 3
    assert 'cannot list resource "deployments"' in said.err
    assert "manifests/rbac.yaml" in said.err


async def test_a_cluster_that_does_not_answer_fails_within_seconds(cluster: Cluster) -> None:
    await cluster.server.stop()
    said = await cluster.tuner("restore", "llm")
    assert said.code == 1
    assert "no answer from http://127.0.0.1" in said.err
    await cluster.server.start()


@pytest.mark.parametrize("output", ["table", "json"])
async def test_a_live_study_without_anybody_to_ask_is_refused_after_saying_what_it_would_do(
    cluster: Cluster, output: str
) -> None:
    before = cluster.deployment
    said = await cluster.tuner("start", "llm", "-o", output)
    assert said.code == 2
    assert "ns/llm will be restarted up to 20 times" in said.err
    assert (said.out == "") is (output == "json")
    assert "--yes says that this is what you want" in said.err
    assert cluster.deployment == before


async def test_requests_longer_than_the_deployments_own_limit_are_refused_before_anything_changes(
    cluster: Cluster,
) -> None:
    cluster.server.put("deployments", "ns", engine("short", args=("--max-model-len=2k",)), "helm")
    before = cluster.server.get("deployments", "ns", "short")["spec"]
    said = await cluster.tuner("start", "short", "--prompt-tokens", "4096", "--yes")
    assert said.code == 2
    assert "requests need 4224 tokens" in said.err
    assert "the engine takes 2000 (its --max-model-len)" in said.err
    assert cluster.server.get("deployments", "ns", "short")["spec"] == before


@pytest.mark.parametrize("command", ["start", "plan"])
async def test_a_gpu_named_for_an_engine_on_a_cpu_is_refused(cluster: Cluster, command: str) -> None:
    body = engine("cpu", gpus=0)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "vllm/vllm-openai-cpu:v0.32.0"
    cluster.server.put("deployments", "ns", body, "helm")
    said = await cluster.tuner(command, "cpu", "--gpu", "H100", *(["--yes"] if command == "start" else []))
    assert said.code == 2
    assert "gpu: 'H100', but ns/cpu runs on a CPU, as its engine or its image says" in said.err


@pytest.mark.parametrize(("named", "asked"), [((), True), (("--gpu", "H100"), False)])
async def test_a_gpu_is_asked_for_only_while_nobody_has_named_it(
    cluster: Cluster, named: tuple[str, ...], asked: bool
) -> None:
    cluster.server.denied.add(("list", "services"))  # which this server does not have
    said = await cluster.tuner("start", "llm", *named)
    assert ("name it with --gpu" in said.out) is asked
    doctor = await cluster.tuner("doctor", "llm", *named)
    assert ("the GPU and the model's shape are not known" in doctor.out) is asked


@pytest.mark.parametrize("named", [("--until", "30m"), ("--gpu-minutes", "30")])
async def test_a_budget_that_hardly_pays_a_confirmation_is_warned_of_before_the_question(
    cluster: Cluster, named: tuple[str, ...]
) -> None:
    said = await cluster.tuner("start", "llm", *named)
    assert "is probably too " in said.out
    assert "the baseline, one candidate and 12 starts to confirm it take about 98" in said.out
    assert "Expected: about 30 min; at the latest over by" in said.err


@pytest.mark.parametrize(("answer", "code"), [(b"\n", 1), (signal.SIGINT, 130)])
async def test_a_no_and_ctrl_c_at_the_question_change_nothing(
    cluster: Cluster, answer: bytes | signal.Signals, code: int
) -> None:
    before = cluster.deployment
    said = await cluster.asked(answer)
    assert said.code == code
    assert "put back as it is now" in said.out
    assert cluster.deployment == before


async def test_there_is_nothing_to_restore_where_no_study_ran(cluster: Cluster) -> None:
    said = await cluster.tuner("restore", "llm")
    assert said.code == 0
    assert said.out == "nothing to restore: the Deployment carries no original of a study\n"
