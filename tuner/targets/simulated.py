"""A target in memory: the same verbs, causes and noise as a real one, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from tuner.core.cause import Cause, Failure, TrialFailed
from tuner.core.errors import InvalidInput, Refused
from tuner.core.hardware import EngineFacts, Gpu, Model
from tuner.core.knob import Candidate, Value
from tuner.core.request import GreedyOutput, LevelPlan, LevelRecords, RequestRecord
from tuner.core.target import TargetInfo
from tuner.core.undisturbed import undisturbed
from tuner.simulator.memory import MemoryPlan, plan
from tuner.simulator.run import LevelRun
from tuner.simulator.scheduler import Scheduler
from tuner.simulator.settings import DEFAULT_VERSION, Settings, resolve
from tuner.simulator.truth import Fragility, Truth, identity
from tuner.targets.target import Progress, Running

_CONTEXT_STEP = 1024  # tokens: a context is written as a round number


class SimulatedTarget:
    """One simulated engine on `gpu_count` GPUs. The same seed and the same calls give the same results.

    `baseline` is what runs when it is found; `fixed` are settings that no candidate changes (max_model_len, ...). With
    `fit_context`, a baseline whose KV cache has no room for the model's own context gets the longest that fits.
    Raises InvalidInput where the baseline itself would not start.
    """

    def __init__(
        self,
        model: Model,
        gpu: Gpu,
        gpu_count: int = 1,
        baseline: Candidate | None = None,
        fixed: Mapping[str, Value] | None = None,
        seed: int = 0,
        *,
        version: str = DEFAULT_VERSION,
        truth: Truth | None = None,
        name: str | None = None,
        fit_context: bool = False,
    ) -> None:
        self._model, self._gpu, self._gpu_count = model, gpu, gpu_count
        self._baseline = baseline or Candidate()
        self._fixed = dict(fixed or {})
        self._version = version
        self._truth = truth or Truth(seed)
        self._name = name or f"simulated/{model.name}-{gpu.name}" + (f"x{gpu_count}" if gpu_count > 1 else "")
        self._now = 0.0
        self._starts = 0
        self._holder: str | None = None
        self._died: Failure | None = None
        self._driver: SimulatedDriver | None = None
        self.current: Candidate | None = self._baseline  # what runs now; None: down after a failed start
        self._notes: tuple[str, ...] = ()
        if fit_context:
            self._fit_context()
        self._check_baseline()

    def now(self) -> float:
        """Virtual seconds since the target was made."""
        return self._now

    async def inspect(self) -> TargetInfo:
        """What a look at the target finds."""
        return TargetInfo(
            name=self._name,
            engine="vllm",
            version=self._version,
            model=self._model.name,
            model_shape=self._model,
            gpu=self._gpu,
            gpu_count=self._gpu_count,
            baseline=self._baseline,
            image=f"simulated-vllm:{self._version}-{identity(self._truth.seed)}",
            fixed=dict(self._fixed),
            simulated=True,
            notes=self._notes,
        )

    async def traffic(self) -> str:
        """Nobody knows of it."""
        return ""

    async def acquire(self, holder: str) -> None:
        """Take the target. Raises Refused where another holder has it."""
        if self._holder not in (None, holder):
            raise Refused(f"{self._name} is being tuned by {self._holder}")
        self._holder = holder

    async def lost(self) -> str:
        """Never: nobody else knows of it."""
        return await asyncio.Future()

    async def apply(self, candidate: Candidate, deadline_s: float, progress: Progress) -> Running:
        """Start the engine with `candidate`. Raises TrialFailed as vLLM would fail; either takes virtual time."""
        self._must_hold()
        self._starts += 1
        self._stop_engine()
        progress("starting")
        try:
            settings = resolve(candidate, self._fixed, self._model, self._gpu, self._gpu_count, self._version)
        except TrialFailed:
            self._pass(self._truth.refusal_s(None), deadline_s)
            raise
        progress("loading model")
        memory = plan(self._model, self._gpu, settings, self._truth.memory(self._version))
        if memory.refusal is not None:
            self._pass(self._truth.refusal_s(memory), deadline_s)
            raise TrialFailed(memory.refusal)
        start_s = self._truth.start_s(memory, settings, self._starts)
        self._pass(start_s, deadline_s)
        self.current = candidate
        self._driver = self._make_driver(settings, memory)
        progress("ready")
        return Running(
            model=self._model.name,
            facts=self._facts(settings, memory),
            start_s=start_s,
            driver=self._driver,
        )

    async def diagnose(self, failure: Failure) -> Failure:
        """The engine's own last words, where it died."""
        return self._died or failure

    async def restore(self) -> None:
        """Run the baseline again."""
        self._must_hold()
        self._stop_engine()
        self.current = self._baseline

    async def serves_again(self, deadline_s: float) -> bool:  # noqa: ARG002
        """At once: a simulated start takes no real time."""
        return True

    async def release(self) -> None:
        """Give the target up; what runs goes on running."""
        self._holder = None

    def _fit_context(self) -> None:
        refusal = self._refusal()
        longest = int((refusal.hint or {}).get("max_model_len", 0)) if refusal else 0
        if not longest or "max_model_len" in {**self._fixed, **self._baseline}:
            return
        length = longest - longest % _CONTEXT_STEP or longest
        self._fixed["max_model_len"] = length
        self._notes = (
            f"the KV cache has no room for the {self._model.max_positions} tokens of {self._model.name}'s context: "
            f"the engine runs with max_model_len={length}, the longest that fits (a shorter one leaves candidates more "
            "room: baseline: {max_model_len: ...})",
        )

    def _check_baseline(self) -> None:
        refusal = self._refusal()
        if refusal is not None:
            runs = Candidate.of({**self._fixed, **self._baseline})
            on = f"{self._gpu_count} x {self._gpu.name}"
            raise InvalidInput(f"baseline: {runs} does not start on {on}: {refusal.message}")

    def _refusal(self) -> Failure | None:
        """Why the baseline does not start."""
        try:
            settings = resolve(self._baseline, self._fixed, self._model, self._gpu, self._gpu_count, self._version)
        except TrialFailed as error:
            return error.failure
        return plan(self._model, self._gpu, settings, self._truth.memory(self._version)).refusal

    def _make_driver(self, settings: Settings, memory: MemoryPlan) -> SimulatedDriver:
        start = self._starts
        scheduler = Scheduler(
            settings,
            memory.kv_tokens,
            self._truth.cost(self._model, self._gpu, settings, start),
            acceptance=self._truth.acceptance(settings),
            seed=hash_seed(self._truth.seed, start),
        )
        fragility = self._truth.fragility(memory, settings, start)
        return SimulatedDriver(scheduler, self._truth, start, fragility, self._spend, self._bury)

    def _facts(self, settings: Settings, memory: MemoryPlan) -> EngineFacts:
        """As vLLM's log prints them: sizes in GiB with two digits."""
        return EngineFacts(
            engine="vllm",
            version=self._version,
            model=self._model.name,
            settings=settings.as_values(),
            kv_cache_tokens=memory.kv_tokens,
            weights_gib=round(memory.weights_gib, 2),
            activation_gib=round(memory.activation_gib, 2),
            non_torch_gib=round(memory.non_torch_gib, 2),
            graphs_gib=round(memory.graphs_gib, 2),
            kv_cache_gib=round(memory.kv_gib, 2),
            total_gib=round(memory.total_gib, 2),
        )

    def _pass(self, seconds: float, deadline_s: float) -> None:
        self._now += min(seconds, deadline_s)
        if seconds > deadline_s:
            raise TrialFailed(
                Failure(
                    Cause.SLOW_START,
                    f"the engine was not ready after {deadline_s:.0f} s",
                    evidence=f"it would have needed {seconds:.0f} s",
                )
            )

    def _spend(self, seconds: float) -> None:
        self._now += seconds

    def _bury(self, failure: Failure) -> None:
        self._died = failure
        self.current = None

    def _stop_engine(self) -> None:
        self._died = None
        self.current = None
        if self._driver is not None:
            self._driver.stop()
            self._driver = None

    def _must_hold(self) -> None:
        if self._holder is None:
            raise Refused(f"{self._name} was not acquired")


class SimulatedDriver:
    """Drives one start of a simulated engine, in virtual time."""

    needs_text = False

    def __init__(
        self,
        scheduler: Scheduler,
        truth: Truth,
        start: int,
        fragility: Fragility,
        spend: Callable[[float], None],
        bury: Callable[[Failure], None],
    ) -> None:
        self._scheduler, self._truth, self._start = scheduler, truth, start
        self._fragility, self._spend, self._bury = fragility, spend, bury
        self._levels = 0
        self._dead: Failure | None = None

    async def level(self, plan: LevelPlan, stop: Callable[[Sequence[RequestRecord]], bool]) -> LevelRecords:
        """Run one level. Raises TrialFailed where the engine dies under it, or has died before."""
        self._must_live()
        self._levels += 1
        run = LevelRun(
            self._scheduler,
            plan,
            stop=stop,
            noise=self._truth.level_noise(self._start, self._levels),
            watch=self._watch,
        )
        try:
            return await _aside(run)
        finally:
            self._spend(run.elapsed_s)

    async def greedy(self, prompts: Sequence[str], max_tokens: int) -> tuple[GreedyOutput, ...]:
        """What this engine writes at temperature 0."""
        self._must_live()
        return tuple(self._truth.greedy(prompt, max_tokens, self._scheduler.settings) for prompt in prompts)

    async def close(self) -> None:
        """Nothing is open."""

    def stop(self) -> None:
        """The engine behind this driver is gone."""
        self._dead = Failure(Cause.CRASH_UNDER_LOAD, "the engine behind this driver was stopped")

    def _must_live(self) -> None:
        if self._dead is not None:
            raise TrialFailed(self._dead)

    def _watch(self, scheduler: Scheduler) -> None:
        limit = self._fragility.running
        if limit is None or len(scheduler.running) < limit:
            return
        evidence = (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB. "
            "EngineDeadError: EngineCore encountered an issue."
        )
        message = f"CUDA out of memory with {len(scheduler.running)} requests running"
        self._dead = Failure(Cause.GPU_OOM_UNDER_LOAD, message, evidence=evidence)
        self._bury(self._dead)
        raise TrialFailed(replace(self._dead, cause=Cause.CRASH_UNDER_LOAD, message="every stream broke"))


async def _aside(run: LevelRun) -> LevelRecords:
    """Run a level beside the event loop: one may take half a minute, in which claims are renewed and signals heard."""
    running = asyncio.ensure_future(asyncio.to_thread(run.run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        run.end()
        with suppress(Exception):  # nobody waits for what it came to
            await undisturbed(running)  # its engine is taken down next
        raise


def hash_seed(*parts: int) -> int:
    """One seed from several numbers."""
    return int(identity(*parts), 16)
