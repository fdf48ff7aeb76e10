"""One small study of a simulated engine, as the command line makes it."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import Said, call

SMALL = ("--simulated", "h100/llama-3.1-8b", "--objective", "throughput", "--concurrency", "8", "--prompt-tokens", "64")
SMALL_BUDGET = ("--output-tokens", "16", "--starts", "6", "--pairs", "2", "--yes")


def small_study(folder: Path) -> tuple[str, Said]:
    """The URL of a database in which lies one finished study called "small", and what was said while it ran.

    It has a winner: its engine was found with room for two of eight clients.
    """
    file, url = folder / "small.yaml", f"sqlite:///{folder}/small.db"
    file.write_text(
        "target: {simulated: {gpu: h100, model: llama-3.1-8b, baseline: {max_num_seqs: 2}}}\n"
        "search: {knobs: {block_size: 32}}\n"
    )
    said = call("start", "-f", str(file), *SMALL[2:], *SMALL_BUDGET, "--name", "small", "--storage", url)
    assert said.code == 0, said
    return url, said
