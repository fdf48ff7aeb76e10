"""Telling a vLLM server from everything else that runs in pods."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_SERVER = re.compile(r"\bvllm\s+serve\b|\bvllm\.entrypoints\.(?:openai\.)?api_server\b")
_STANDIN = re.compile(r"(?:^|[\s/])engine-sim\b|\btuner\.standin\b")
#: Things named after vLLM that route to it, watch it or prepare its files.
_BESIDE = re.compile(
    r"router|gateway|proxy|sidecar|exporter|operator|controller|scheduler|lmcache|dashboard|benchmark|bench"
)
_SHELLS = re.compile(
    r"(?:^|/)(?:ba|da|z|k|a)?sh$|(?:^|/)python[\d.]*$|(?:^|/)(?:ray|huggingface-cli|hf|curl|wget|sleep|tail|pip)$"
)


def for_cpu(image: str, env_names: Collection[str]) -> bool:
    """See Engine.for_cpu."""
    return "cpu" in image.rsplit("/", 1)[-1] or any(name.startswith("VLLM_CPU_") for name in env_names)


def owns(image: str, argv: Sequence[str]) -> bool:
    """Whether this is a vLLM server (or the stand-in that speaks for one): by what it runs, else by its image's name.

    `argv` is command + args; empty or beginning with a flag where the image's entrypoint is used.
    """
    text = " ".join(argv)
    if _SERVER.search(text) or _STANDIN.search(text):
        return True
    name = image.rsplit("@", 1)[0].lower()
    parts = re.split(r"[/:]", name)
    if any("engine-sim" in part for part in parts):
        return not argv or argv[0].startswith("-") or argv[0] == "serve"
    repository = re.sub(r":[^/]*$", "", name)
    if not re.search(r"(?:^|[-_./])vllm(?:$|[-_./])", "/".join(repository.split("/")[-2:])) or _BESIDE.search(
        repository.rsplit("/", 1)[-1]
    ):
        return False
    return not argv or not _SHELLS.search(argv[0])
