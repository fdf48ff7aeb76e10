"""Records for tests, said in few words."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.core.request import PlannedRequest, RequestRecord


def record(
    index: int = 0,
    *,
    sent: float = 0.0,
    ttft: float = 0.1,
    gaps: Sequence[float] = (0.02, 0.02),
    error: str | None = None,
    prompt_tokens: int = 10,
    late: float = 0.0,
) -> RequestRecord:
    """A request that was due at `sent`, was sent `late` seconds later, and streamed one token an event."""
    times = [sent + ttft]
    for gap in gaps:
        times.append(times[-1] + gap)
    count = len(times)
    planned = PlannedRequest(index, prompt_tokens, count, sent)
    return RequestRecord(planned, sent, sent + late, times[-1], tuple(times), (1,) * count, prompt_tokens, count, error)


def ttfts(values: Sequence[float]) -> tuple[RequestRecord, ...]:
    """Requests a tenth of a second apart with these TTFTs."""
    return tuple(record(i, sent=0.1 * i, ttft=value) for i, value in enumerate(values))
