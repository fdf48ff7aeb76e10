"""A study's winner on its way to the live Deployment, whoever asks for it: one path for command line and pages."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self, TypeVar

from tuner.core.cause import TrialFailed
from tuner.core.errors import InvalidInput, Refused, TunerError
from tuner.core.knob import Candidate
from tuner.engines import engine_named
from tuner.study.access import Access
from tuner.study.winner import Winner, on_deployment
from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.deployment import KubernetesTarget
from tuner.targets.target import Progress

TargetT = TypeVar("TargetT", bound=KubernetesTarget)


class Adoption:
    """One change of one Deployment: `async with Adoption.open(winner, access) as adoption`, preview, apply once.

    Whatever happens inside, the exclusive right to the Deployment and all connections are given back at the end.
    """

    def __init__(self, winner: Winner, client: Client, target: KubernetesTarget) -> None:
        self.winner = winner
        self._client, self._target = client, target
        self._fit = False

    @classmethod
    @asynccontextmanager
    async def open(cls, winner: Winner, access: Access) -> AsyncIterator[Self]:
        """Reach the cluster; nothing is changed yet.

        Raises InvalidInput for a simulated target or an unusable kubeconfig, Unreachable where nothing answers.
        """
        if winner.simulated:
            raise InvalidInput(f"study {winner.study}: its target was simulated, so there is nothing to apply it to")
        async with access.client() as client:
            opened = cls._on(winner, client, access)
            try:
                yield opened
            finally:
                await opened._target.release()

    @classmethod
    def _on(cls, winner: Winner, client: Client, access: Access) -> Self:
        return cls(winner, client, target_of(winner, client, access, KubernetesTarget))

    @property
    def wanted(self) -> Candidate:
        """The settings that the Deployment is to run."""
        return self.winner.candidate

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
            running = await self._target.keep(self.wanted, holder, deadline_s, say)
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


def target_of(winner: Winner, client: Client, access: Access, kind: type[TargetT]) -> TargetT:
    """The Deployment that a winner was measured on, as a target of this kind."""
    return kind(
        client,
        winner.namespace,
        winner.deployment,
        engine_named(winner.engine),
        endpoint=access.endpoint,
        api_key=access.api_key,
    )
