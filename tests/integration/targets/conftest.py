"""A Deployment with a quick engine on the in-process cluster, and the target that tunes it."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import ApiServer
from tests.support.bench import Bench, deployed, look_often
from tuner.core.cause import Failure, TrialFailed
from tuner.core.knob import Candidate
from tuner.engines.vllm import VLLM
from tuner.targets.kubernetes.client import Client, Retry
from tuner.targets.kubernetes.deployment import KubernetesTarget
from tuner.targets.target import Running

restoring = importlib.import_module("tuner.targets.kubernetes.restore")

Object = dict[str, Any]
STUDY = "study-1"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that start in a tenth of a second are looked at ten times as often."""
    look_often(monkeypatch)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with ApiServer(tmp_path) as running:
        yield running


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[Client]:
    connected = await Client.connect(str(server.kubeconfig), retry=Retry(patience_s=5.0, first_s=0.05, longest_s=0.2))
    yield connected
    await connected.close()


@pytest.fixture
async def bench(server: ApiServer) -> Bench:
    return await deployed(server)


@pytest.fixture
async def make_target(server: ApiServer) -> AsyncIterator[Callable[..., Any]]:
    """Targets with connections of their own, as processes have; what a test leaves is closed."""
    made: list[KubernetesTarget] = []

    async def make(name: str = "llm", study: str = STUDY, acquire: bool = True, **options: Any) -> KubernetesTarget:
        retry = Retry(patience_s=5.0, first_s=0.05, longest_s=0.2)
        connected = await Client.connect(str(server.kubeconfig), retry=retry)
        target = KubernetesTarget(connected, "ns", name, VLLM, study=study, **options)
        made.append(target)
        if acquire:
            await target.inspect()
            await target.acquire(study)
        return target

    yield make
    for target in made:
        await target.release()


@pytest.fixture
async def target(bench: Bench, make_target: Callable[..., Any]) -> KubernetesTarget:
    """Inspected and acquired."""
    made: KubernetesTarget = await make_target(bench.name)
    return made


def candidate(batched: int = 4096, seqs: int = 32) -> Candidate:
    """`batched` chooses the fate (tests/support/vllm)."""
    return Candidate.of(max_num_seqs=seqs, max_num_batched_tokens=batched)


async def start(target: KubernetesTarget, wanted: Candidate, deadline_s: float = 10.0) -> Running:
    """Apply without listening to progress."""
    return await target.apply(wanted, deadline_s, lambda _: None)


async def failure(target: KubernetesTarget, wanted: Candidate, deadline_s: float = 10.0) -> Failure:
    """The failure of a start that must fail."""
    with pytest.raises(TrialFailed) as caught:
        await start(target, wanted, deadline_s)
    return caught.value.failure


async def killed(target: KubernetesTarget) -> None:
    """What kill -9 leaves: nothing renewed, nothing restored."""
    assert target._taken is not None
    assert target._taken._task is not None
    target._taken._task.cancel()
    target._taken = None
