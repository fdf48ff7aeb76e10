"""How each client is installed and driven, and what it tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from tests.benchmarks.clients.job import MODEL, PATH, Job, Told, read
from tests.benchmarks.clients.running import Client, Unavailable
from tests.e2e.support import engine

_INSTALL_S = 1800.0
_WORDS = 300


@dataclass
class Adapter:
    """A client that a module of this package drives and reports for."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    long_s: float = 6.0

    def prepare(self) -> None:
        """It needs nothing but tuner's own environment."""

    def python(self) -> str:
        """The interpreter that has what the module needs."""
        return sys.executable

    def command(self, job: Job) -> Sequence[str]:
        """The module, as a program."""
        return (self.python(), "-m", f"tests.benchmarks.clients.{self.module}", *self.arguments, job.dump())

    def environment(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def told(self, job: Job) -> list[Told]:
        """What the module wrote."""
        return read(job.report)


class VllmBench(Adapter):
    """The client of `vllm bench serve`, in the environment of the engine that the end-to-end tests use."""

    def prepare(self) -> None:
        """Make that environment, where there is none yet (minutes, 5 GB)."""
        try:
            engine.install()
        except (AssertionError, OSError, subprocess.SubprocessError) as failed:
            raise Unavailable(f"its environment could not be made: {str(failed)[-_WORDS:]}") from None

    def python(self) -> str:
        """vLLM's."""
        return str(engine.install().venv / "bin" / "python")


@dataclass
class Installed:
    """A client that is a program of its own, installed from the package index at one version."""

    name: str
    package: str
    version: str
    extra: tuple[str, ...] = field(default=())
    long_s: float = 24.0

    @property
    def home(self) -> Path:
        """Its environment."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "tuner" / "clients" / f"{self.package}-{self.version}"

    def prepare(self) -> None:
        """Install it, where it is not yet. Raises Unavailable with what the installer said."""
        if (self.home / "complete").exists():
            return
        wanted = (f"{self.package}=={self.version}", *self.extra)
        print(f"installing {' '.join(wanted)} into {self.home} (once, minutes)", file=sys.stderr)
        for command in (
            (sys.executable, "-m", "venv", "--clear", str(self.home)),
            (str(self.home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-cache-dir", *wanted),
        ):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
            except (OSError, subprocess.TimeoutExpired) as failed:
                raise Unavailable(f"it could not be installed: {failed}") from None
            if done.returncode:
                raise Unavailable(f"it could not be installed: {done.stderr.strip()[-_WORDS:]}")
        (self.home / "complete").touch()

    def environment(self) -> Mapping[str, str]:
        """Its own programs first, and nothing of this project."""
        return {"PYTHONPATH": "", "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}"}


class GuideLlm(Installed):
    """GuideLLM, with one worker process: it has one core. It keeps the times of the first and the last token only."""

    def command(self, job: Job) -> Sequence[str]:
        """As its guide says, with a file of prompts and a JSON report."""
        prompts = job.folder / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in job.prompts()))
        rate = f"kind=concurrent,streams={job.requests}" if job.rate is None else f"kind=constant,rate={job.rate}"
        backend = f"kind=openai_http,target={job.endpoint},model={MODEL},request_format={PATH},max_tokens={job.tokens}"
        return (
            str(self.home / "bin" / "guidellm"),
            "run",
            *("--backend", backend),
            *("--profile", rate),
            *("--constraint", f"kind=max_requests,count={job.requests}"),
            *("--data", f"kind=json_file,path={prompts}"),
            *("--output", f"kind=json,path={job.report}"),
            "--disable-console",
        )

    def environment(self) -> Mapping[str, str]:
        """One worker process."""
        return {**super().environment(), "GUIDELLM__MAX_WORKER_PROCESSES": "1"}

    def told(self, job: Job) -> list[Told]:
        """Of each request that it calls successful."""
        report = json.loads(job.report.read_text(encoding="utf-8"))
        requests = report["benchmarks"][0]["requests"]["successful"]
        timings = [(request["response_id"], request["info"]["timings"]) for request in requests]
        return [
            Told(name, at["request_start"], (at["first_token_iteration"], at["last_token_iteration"]))
            for name, at in timings
        ]


def _tokenizer(folder: Path) -> Path:
    """A tokenizer of words, in Hugging Face's format: both would fetch one otherwise, and count with none."""
    folder.mkdir(exist_ok=True)
    model = {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return folder


class AiPerf(Installed):
    """AIPerf, with one worker and one record processor: they have one core. It takes the server's token counts."""

    def command(self, job: Job) -> Sequence[str]:
        """As its guide says, with a file of prompts and per-request records."""
        prompts = job.folder / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"text": prompt}) + "\n" for prompt in job.prompts()))
        rate = ("--concurrency", str(job.requests)) if job.rate is None else ("--request-rate", str(job.rate))
        return (
            str(self.home / "bin" / "aiperf"),
            "profile",
            *("--model", MODEL, "--url", job.endpoint, "--endpoint-type", "completions", "--streaming"),
            *("--tokenizer", str(_tokenizer(job.folder / "tokenizer")), "--use-server-token-count"),
            *("--input-file", str(prompts), "--custom-dataset-type", "single_turn"),
            *("--extra-inputs", f"max_tokens:{job.tokens}"),
            *("--request-count", str(job.requests), *rate, "--arrival-pattern", "constant"),
            *("--workers-max", "1", "--record-processors", "1"),
            *("--ui", "none", "--no-gpu-telemetry", "--no-server-metrics"),
            *("--output-artifact-dir", str(job.folder / "artifacts")),
        )

    def told(self, job: Job) -> list[Told]:
        """Of each record: milliseconds to the first token and between chunks."""
        told = []
        for line in (job.folder / "artifacts" / "profile_export.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            start_s = record["metadata"]["request_start_ns"] / 1e9
            first_s = start_s + record["metrics"]["time_to_first_token"]["value"] / 1e3
            gaps_s = [gap / 1e3 for gap in record["metrics"]["inter_chunk_latency"]["value"]]
            told.append(Told(record["metadata"]["x_request_id"], start_s, tuple(accumulate(gaps_s, initial=first_s))))
        return told


CLIENTS: tuple[Client, ...] = (
    Adapter("tuner", "ours"),
    VllmBench("vllm bench serve", "vllm_bench"),
    GuideLlm("GuideLLM 0.8.1", "guidellm", "0.8.1"),
    AiPerf("AIPerf 0.13.0", "aiperf", "0.13.0"),
    Adapter("bytes only: httpx", "floors", ("httpx",)),
    Adapter("bytes only: a protocol on uvloop", "floors", ("bare",)),
)
