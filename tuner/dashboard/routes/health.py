"""Whether the dashboard can do its work, for whoever keeps it running. Says nothing else, and to anybody."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from tuner.core.errors import TunerError
from tuner.dashboard.routes.parts import TheReading

router = APIRouter()


@router.get("/healthz")
def health(reading: TheReading) -> PlainTextResponse:
    """200 while the database can be read, else 503."""
    try:
        reading.store.stamps()
    except TunerError:
        return PlainTextResponse("the database can't be read\n", 503)
    return PlainTextResponse("ok\n")
