"""What an engine serves that nobody here has sent."""

from __future__ import annotations

import asyncio
import time

from tuner.engines.engine import Engine
from tuner.targets.kubernetes.serving import Serving

_WATCH_S = 3.0


async def seen_traffic(serving: Serving, engine: Engine) -> str:
    """The rate at which an engine's requests end, and how many it has in hand, in words; empty for none."""
    began, before = time.monotonic(), engine.counters(await serving.text("/metrics"))
    if not before:
        return ""
    await asyncio.sleep(_WATCH_S)
    after = engine.counters(await serving.text("/metrics"))
    rate = (after.get("requests", 0.0) - before.get("requests", 0.0)) / (time.monotonic() - began)
    said = [f"{rate:.2g} requests/s"] if rate > 0 else []
    said += [f"{count:.0f} {name}" for name in ("running", "waiting") if (count := after.get(name, 0.0)) > 0]
    return ", ".join(said)
