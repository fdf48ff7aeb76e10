"""vLLM's /metrics: its names, its labels, its types."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from tuner.standin.engine import Engine

_SHORT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_ITL = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_E2E = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0)

REASONS = ("stop", "length", "abort", "error", "repetition")


class Histogram:
    """Counts by upper bound, as Prometheus has them."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self.name, self.text = name, text
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value, in seconds."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, labels: str) -> Iterator[str]:
        """The samples."""
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            yield f'{self.name}_bucket{{{labels},le="{bound}"}} {float(total)}'
        yield f"{self.name}_count{{{labels}}} {float(total)}"
        yield f"{self.name}_sum{{{labels}}} {self._sum}"


class Metrics:
    """What the server counts beside the engine's own counters."""

    def __init__(self) -> None:
        self.finished = dict.fromkeys(REASONS, 0)
        self.rejections = {"max_num_queued_reqs": 0, "max_num_queued_tokens": 0}
        self.ttft = Histogram(
            "vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.", _SHORT
        )
        self.itl = Histogram("vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", _ITL)
        self.e2e = Histogram("vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", _E2E)

    def page(self, engine: Engine, model_name: str) -> str:
        """The whole page."""
        labels = f'engine="0",model_name="{_escaped(model_name)}"'
        lines: list[str] = []
        for name, kind, text, samples in self._scalars(engine):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{{{_with(labels, more)}}} {float(value)}" for more, value in samples]
        for histogram in (self.ttft, self.itl, self.e2e):
            lines += [f"# HELP {histogram.name} {histogram.text}", f"# TYPE {histogram.name} histogram"]
            lines += histogram.lines(labels)
        cache = ",".join(f'{key}="{value}"' for key, value in sorted(cache_config(engine).items()))
        lines += ["# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig"]
        lines += ["# TYPE vllm:cache_config_info gauge", f'vllm:cache_config_info{{{cache},engine="0"}} 1.0']
        return "\n".join(lines) + "\n"

    def _scalars(self, engine: Engine) -> Iterator[tuple[str, str, str, Sequence[tuple[Mapping[str, str], float]]]]:
        c = engine.scheduler.counters
        plain: dict[str, str] = {}
        running, waiting = engine.running, engine.waiting
        yield "vllm:num_requests_running", "gauge", "Number of requests in model execution batches.", [(plain, running)]
        yield "vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed.", [(plain, waiting)]
        usage = engine.scheduler.kv_usage
        yield "vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", [(plain, usage)]
        for name, text, value in (
            ("vllm:num_preemptions_total", "Cumulative number of preemption from the engine.", c.preemptions),
            ("vllm:prompt_tokens_total", "Number of prefill tokens processed.", c.prompt_tokens + c.prefix_hits),
            ("vllm:prompt_tokens_cached_total", "Number of cached prompt tokens (local + external).", c.prefix_hits),
            ("vllm:generation_tokens_total", "Number of generation tokens processed.", c.generated_tokens),
            ("vllm:prefix_cache_queries_total", "Prefix cache queries, in number of tokens.", c.prefix_queries),
            ("vllm:prefix_cache_hits_total", "Prefix cache hits, in number of tokens.", c.prefix_hits),
        ):
            yield name, "counter", text, [(plain, value)]
        if engine.scheduler.settings.speculative_method:
            drafts = c.drafted / max(1, engine.scheduler.settings.num_speculative_tokens)
            yield "vllm:spec_decode_num_drafts_total", "counter", "Number of spec decoding drafts.", [(plain, drafts)]
            text = "Number of draft tokens."
            yield "vllm:spec_decode_num_draft_tokens_total", "counter", text, [(plain, c.drafted)]
            text = "Number of accepted tokens."
            yield "vllm:spec_decode_num_accepted_tokens_total", "counter", text, [(plain, c.accepted)]
        finished = [({"finished_reason": reason}, float(count)) for reason, count in self.finished.items()]
        yield "vllm:request_success_total", "counter", "Count of successfully processed requests.", finished
        rejected = [({"reason": reason}, float(count)) for reason, count in self.rejections.items()]
        text = "Number of admission attempts rejected by a queue limit, by reason."
        yield "vllm:admission_rejections_total", "counter", text, rejected


class Timeline:
    """Notes the times of one request, in seconds of one clock, from `begun_s` on."""

    def __init__(self, metrics: Metrics, begun_s: float) -> None:
        self._metrics, self._begun_s, self._last_s = metrics, begun_s, begun_s
        self._histogram = metrics.ttft

    def tokens(self, when_s: float) -> None:
        """A step brought tokens."""
        self._histogram.observe(when_s - self._last_s)
        self._histogram, self._last_s = self._metrics.itl, when_s

    def end(self) -> None:
        """These were the last."""
        self._metrics.e2e.observe(self._last_s - self._begun_s)


def cache_config(engine: Engine) -> dict[str, str]:
    """The resolved cache configuration, as labels."""
    s, m = engine.machine.settings, engine.machine.memory
    return {
        "block_size": str(s.block_size),
        "cache_dtype": s.kv_cache_dtype,
        "enable_prefix_caching": str(s.enable_prefix_caching),
        "gpu_memory_utilization": f"{s.gpu_memory_utilization:g}",
        "kv_cache_max_concurrency": f"{m.max_concurrency:.4f}",
        "kv_cache_memory_bytes": str(s.kv_cache_memory_bytes or None),
        "kv_cache_size_tokens": str(int(m.max_concurrency * s.max_model_len)),
        "num_cpu_blocks": "None",
        "num_gpu_blocks": str(m.kv_tokens // s.block_size),
        "num_gpu_blocks_override": str(s.num_gpu_blocks_override or None),
        "prefix_caching_hash_algo": "sha256",
    }


def _with(labels: str, more: Mapping[str, str]) -> str:
    return ",".join([labels, *(f'{key}="{value}"' for key, value in more.items())])


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
