"""The hidden truth of a simulated engine: like the planner's model, but with other constants and with noise.

Planner and search see only what a real engine would show, so they can't look into their own answer. The truth differs
in structure too: captured batch sizes pad small batches, chunks have a ramp before they reach full speed, memory breaks
before it is full.
"""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass, replace

from tuner.core.hardware import Gpu, Model
from tuner.core.request import GreedyOutput
from tuner.simulator.cost import CostConstants, Roofline, StepWork
from tuner.simulator.memory import MemoryConstants, MemoryPlan, constants_for
from tuner.simulator.run import Noise
from tuner.simulator.settings import Settings

#: Chance that a drafted token is accepted, on the text of an average chat, and its spread over workloads.
#: EAGLE-3: from its acceptance lengths (2.36 at k = 2 .. 3.54 at k = 7); n-gram drafts rarely fit chat text.
ACCEPTANCE = {
    "ngram": (0.25, 0.12),
    "suffix": (0.3, 0.12),
    "eagle": (0.65, 0.08),
    "eagle3": (0.75, 0.06),
    "mtp": (0.75, 0.06),
    "medusa": (0.55, 0.08),
    "draft_model": (0.7, 0.08),
}

#: CV between starts of one configuration, seen on a real engine, and between levels of one start.
RESTART_CV, LEVEL_CV, STEP_CV = 0.035, 0.01, 0.02

# Share of greedy tokens after which an altered KV cache has led elsewhere, and the error of log-probabilities.
_DRIFT = {"fp8": (0.03, 0.1), "fp8_e4m3": (0.03, 0.1), "fp8_e5m2": (0.06, 0.3)}
_CORRUPT = ("int8_per_token_head",)


class TrueCost:
    """The roofline with hidden constants, and with what the roofline leaves out."""

    def __init__(self, roofline: Roofline, ramp_tokens: float, padding: float, scale: float) -> None:
        self._roofline, self._ramp, self._padding, self._scale = roofline, ramp_tokens, padding, scale
        self._token_s = self._chunk_token_s()

    def seconds(self, work: StepWork) -> float:
        """Duration of one step, in seconds."""
        seconds = self._roofline.seconds(work)
        if work.prefill_tokens:
            seconds += self._ramp * self._token_s
        elif work.decode_sequences:
            step = 8 if work.decode_sequences <= 256 else 16
            seconds *= 1 + self._padding * (-work.decode_sequences % step) / step
        return seconds * self._scale

    def admission_s(self, prompt_tokens: int) -> float:
        """Front end's time for one request, in seconds."""
        return self._roofline.admission_s(prompt_tokens)

    def _chunk_token_s(self) -> float:
        large = self._roofline.seconds(StepWork(prefill_tokens=8192, prefill_sequences=1))
        small = self._roofline.seconds(StepWork(prefill_tokens=4096, prefill_sequences=1))
        return (large - small) / 4096


@dataclass(frozen=True)
class Fragility:
    """When an engine that started runs out of memory under load: with `running` sequences and more; None: never."""

    running: int | None


class Truth:
    """Hidden constants, drawn once from `seed`; each start and each level draws its noise from (seed, its number)."""

    def __init__(self, seed: int, *, noise: bool = True) -> None:
        self.seed, self.noise = seed, noise
        draw = random.Random(f"truth-{seed}")
        base = CostConstants()
        self._cost = replace(
            base,
            bandwidth_efficiency=min(0.97, _around(draw, base.bandwidth_efficiency, 0.05)),
            layer_s=_around(draw, base.layer_s, 0.2),
            mfu=min(0.65, _around(draw, base.mfu, 0.12)),
            step_s=_around(draw, base.step_s, 0.5),
            sequence_s=_around(draw, base.sequence_s, 0.5),
            request_s=_around(draw, base.request_s, 0.3),
            prompt_token_s=_around(draw, base.prompt_token_s, 0.3),
            kv_quant_layer_s=draw.uniform(0.0, 6e-6),
            kv_quant_emulated_layer_s=draw.uniform(5e-6, 20e-6),
        )
        self._ramp_tokens = draw.uniform(20, 160)
        self._padding = draw.uniform(0.0, 0.08)
        self._activation = _around(draw, 1.0, 0.12)
        self._graphs = _around(draw, 1.0, 0.15)
        self._non_torch_gib = draw.uniform(-0.1, 0.25)
        self._fragile_gib = draw.uniform(0.5, 1.8)
        self._read_gib_s = draw.uniform(1.2, 3.5)
        self._boot_s = draw.uniform(28, 45)
        self._acceptance = {
            method: min(0.95, max(0.02, draw.gauss(mean, spread))) for method, (mean, spread) in ACCEPTANCE.items()
        }

    def cost(self, model: Model, gpu: Gpu, settings: Settings, start: int) -> TrueCost:
        """Step cost of the start with this number."""
        scale = _around(random.Random(f"start-{self.seed}-{start}"), 1.0, RESTART_CV) if self.noise else 1.0
        roofline = Roofline(model, gpu, settings, self._cost)
        return TrueCost(roofline, self._ramp_tokens, self._padding, scale)

    def level_noise(self, start: int, level: int) -> Noise:
        """Noise of one level of one start."""
        if not self.noise:
            return Noise()
        draw = random.Random(f"level-{self.seed}-{start}-{level}")
        return Noise(draw.getrandbits(48), scale=_around(draw, 1.0, LEVEL_CV), jitter=STEP_CV)

    def memory(self, version: str | None) -> MemoryConstants:
        """The constants by which memory is really laid out."""
        base = constants_for(version)
        return replace(
            base,
            activation_factor=self._activation,
            graphs_factor=self._graphs,
            non_torch_gib=base.non_torch_gib + max(-0.05, self._non_torch_gib),
            non_torch_parallel_gib=base.non_torch_parallel_gib + self._non_torch_gib,
        )

    def fragility(self, plan: MemoryPlan, settings: Settings, start: int) -> Fragility:
        """Close to the edge some starts break under load, at high concurrency, because memory has fragmented."""
        left = plan.headroom_gib - plan.sampler_gib
        if left >= self._fragile_gib:
            return Fragility(None)
        draw = random.Random(f"fragile-{self.seed}-{start}")
        if draw.random() > 1 - left / self._fragile_gib:
            return Fragility(None)
        return Fragility(max(2, round(settings.max_num_seqs * draw.uniform(0.4, 0.95))))

    def acceptance(self, settings: Settings) -> float:
        """Chance that a drafted token is accepted."""
        return self._acceptance.get(settings.speculative_method, 0.0)

    def start_s(self, plan: MemoryPlan, settings: Settings, start: int) -> float:
        """Seconds from launch to ready: boot, weights, profiling and compilation, CUDA graphs."""
        draw = random.Random(f"boot-{self.seed}-{start}")
        graphs = 0.0 if settings.enforce_eager else 12 + 6 * plan.graphs_gib
        seconds = self._boot_s + plan.weights_gib / self._read_gib_s + graphs
        return seconds * (_around(draw, 1.0, 0.05) if self.noise else 1.0)

    def refusal_s(self, plan: MemoryPlan | None) -> float:
        """Seconds until a refused start has ended: flags are read early, memory is known after loading."""
        if plan is None:
            return 0.3 * self._boot_s
        return 0.7 * self._boot_s + plan.weights_gib / self._read_gib_s

    def greedy(self, prompt: str, max_tokens: int, settings: Settings) -> GreedyOutput:
        """What the engine writes at temperature 0: an altered KV cache leads elsewhere sooner or later."""
        words = random.Random(f"text-{self.seed}-{prompt}")
        tokens = [f"t{words.randrange(50_000)}" for _ in range(max_tokens)]
        logprob = -words.expovariate(1.5)
        altered = random.Random(f"altered-{self.seed}-{prompt}-{settings.kv_cache_dtype}")
        if settings.kv_cache_dtype in _CORRUPT:
            tokens = [f"t{altered.randrange(50_000)}" for _ in tokens]
            logprob -= 1.9
        elif settings.kv_cache_dtype in _DRIFT:
            rate, error = _DRIFT[settings.kv_cache_dtype]
            logprob += altered.uniform(-error, error)
            same = math.ceil(altered.expovariate(rate))
            tokens[same:] = [f"t{altered.randrange(50_000)}" for _ in tokens[same:]]
        return GreedyOutput(tuple(tokens), logprob)


def identity(*parts: object) -> str:
    """A short stable name for a set of facts."""
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:8]


def _around(draw: random.Random, value: float, cv: float) -> float:
    """Log-normal with median `value`."""
    return value * math.exp(draw.gauss(0.0, cv))
