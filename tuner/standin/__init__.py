"""The simulated engine as a server: vLLM's flags, log, HTTP API, metrics and failures, without a GPU."""

from tuner.standin.server import serve

__all__ = ["serve"]
