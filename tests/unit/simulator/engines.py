"""Small engines for the tests of this folder."""

from __future__ import annotations

from tuner.core.request import PlannedRequest
from tuner.simulator.cost import StepWork
from tuner.simulator.scheduler import Scheduler
from tuner.simulator.settings import Settings


class PlainCost:
    """1 ms per step, 0.1 ms per prompt token, 1 us per cached token read, nothing at the front end."""

    def seconds(self, work: StepWork) -> float:
        decoding = work.decode_sequences * (1 + work.drafted)
        return 1e-3 + 1e-4 * work.prefill_tokens + 1e-6 * work.context_tokens + 1e-5 * decoding

    def admission_s(self, prompt_tokens: int) -> float:
        del prompt_tokens
        return 0.0


def settings(**values: object) -> Settings:
    base = {
        "max_num_seqs": 8,
        "max_num_batched_tokens": 256,
        "gpu_memory_utilization": 0.9,
        "max_model_len": 4096,
        "block_size": 16,
    }
    return Settings(**{**base, **values})  # type: ignore[arg-type]


def scheduler(kv_tokens: int = 16_384, acceptance: float = 0.0, **values: object) -> Scheduler:
    return Scheduler(settings(**values), kv_tokens, PlainCost(), acceptance=acceptance)


def request(index: int, prompt: int = 100, output: int = 10, **more: object) -> PlannedRequest:
    return PlannedRequest(index, prompt, output, **more)  # type: ignore[arg-type]
