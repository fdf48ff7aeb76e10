"""Serving engines, one module each. Adding one is a package here and a YAML in search_spaces/."""

from __future__ import annotations

from tuner.core.errors import InvalidInput
from tuner.engines.engine import Engine
from tuner.engines.vllm import VLLM

#: Every engine this project knows, by name.
ENGINES: dict[str, Engine] = {VLLM.name: VLLM}


def engine_named(name: str) -> Engine:
    """The engine of this name. Raises InvalidInput with the known ones."""
    try:
        return ENGINES[name]
    except KeyError:
        raise InvalidInput(f"unknown engine {name!r}; allowed: {', '.join(ENGINES)}") from None


__all__ = ["ENGINES", "Engine", "engine_named"]
