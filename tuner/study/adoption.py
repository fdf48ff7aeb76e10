"""A study's winner on its way to the live Deployment, whoever asks for it: one path for command line and pages."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from tuner.core.cause import TrialFailed
from tuner.core.errors import InvalidInput, Refused, TunerError
from tuner.core.knob import Candidate
from tuner.engines import engine_named
from tuner.study.cluster import Cluster
from tuner.study.winner import Winner, on_deployment
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.deployment import KubernetesTarget
from tuner.targets.kubernetes.fields import Fields
from tuner.targets.target import Progress


class Adoption:
    """One change of one Deployment: `async with Adoption.open(winner, cluster) as adoption`, preview, apply once.

    Whatever happens inside, the exclusive right to the Deployment and all connections are given back at the end.
    """

    def __init__(self, winner: Winner, client: Client, target: KubernetesTarget) -> None:
        self.winner = winner
        self._client, self._target = client, target
        self._lists: Fields | None = None  # command and args to be written as they are; None: today's are edited
        self._fit = False

    @classmethod
    @asynccontextmanager
    async def open(cls, winner: Winner, cluster: Cluster) -> AsyncIterator[Self]:
        """Reach the cluster; nothing is changed yet.

        Raises InvalidInput for a simulated target or an unusable kubeconfig, Unreachable where nothing answers.
        """
        if winner.simulated:
            raise InvalidInput(f"study {winner.study}: its target was simulated, so there is nothing to apply it to")
        async with cluster.client() as client:
            opened = cls(winner, client, _target_of(winner, client, cluster))
            try:
                yield opened
            finally:
                await opened._target.release()

    @property
    def wanted(self) -> Candidate:
        """The settings that the Deployment is to run."""
        return self.winner.candidate

    @property
    def caution(self) -> str:
        """What a person should know before, known after `preview`; empty where the diff says it all."""
        return ""

    @property
    def question(self) -> str:
        """What a person is asked before it is done."""
        return "Apply this?"

    @property
    def done(self) -> str:
        """What is said when it is done."""
        return f"{self.winner.deployment} runs the winner of study {self.winner.study}"

    async def preview(self) -> str | None:
        """What would change, as a unified diff with secrets masked; None: it runs these settings already.

        Raises Refused where the Deployment can't be changed safely, or is not what the change was made for.
        """
        self._fit = False
        diff = await self._look()
        self._fit = diff is not None
        return diff

    async def apply(self, deadline_s: float, say: Progress) -> float:
        """Make the change, follow the rollout, and undo it unless the engine serves; returns the seconds it took.

        `deadline_s` is the longest that the start may take. Looks first as `preview` does where that was not called.
        A cancellation undoes the change, too; the undoing itself must be left alone (study.signals). Raises Refused
        before anything has changed, TunerError after the undoing, NotRestored where that failed.
        """
        if not self._fit and await self.preview() is None:
            raise Refused(f"{self.winner.deployment} runs these settings already")
        holder = f"tuner-apply-{uuid.uuid4().hex[:12]}"
        try:
            running = await self._target.keep(self.wanted, holder, deadline_s, say, self._lists)
        except TrialFailed as failed:
            raise TunerError(
                f"{failed.failure}\nthe change was undone: {self.winner.deployment} runs what it ran before"
            ) from failed
        finally:
            self._fit = False
        return running.start_s

    async def _look(self) -> str | None:
        """The diff. Raises Refused where the Deployment is not what was measured, unless it runs the winner already."""
        await self._target.inspect()
        diff = self._target.preview(self.wanted)
        if diff is not None:
            await on_deployment(self.winner, self._client)
        return diff


def _target_of(winner: Winner, client: Client, cluster: Cluster) -> KubernetesTarget:
    """The Deployment that a winner was measured on."""
    return KubernetesTarget(
        client,
        winner.namespace,
        winner.deployment,
        engine_named(winner.engine),
        endpoint=cluster.endpoint,
        api_key=cluster.api_key,
    )
