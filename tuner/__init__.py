"""Finds the engine settings that serve the most within the latency that was promised, on a live LLM deployment."""

__version__ = "0.1.0"
