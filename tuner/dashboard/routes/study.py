"""One study."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from tuner.dashboard import pictures
from tuner.dashboard.access import Asking
from tuner.dashboard.document import document, file_name
from tuner.dashboard.routes.parts import StudyId, TheReading, page
from tuner.store import StoreError

router = APIRouter()
_ASKED_ANEW_S = 900.0


@router.get("/studies/{study_id}")
def study(request: Request, who: Asking, reading: TheReading, study_id: StudyId) -> HTMLResponse:
    """Its page."""
    return page("study.html", request, who, view=reading.study(study_id))


@router.get("/studies/{study_id}/live")
async def live(request: Request, _who: Asking, reading: TheReading, study_id: StudyId) -> StreamingResponse:
    """Its page whenever it changes, as server-sent events."""
    with suppress(StoreError):  # busy for a moment: whoever follows looks again
        await asyncio.to_thread(reading.store.stamp, study_id)  # there is such a study
    messages = _while_signed_in(request, request.app.state.live.messages(study_id))
    headers = {"X-Accel-Buffering": "no"}  # a proxy must not gather messages
    return StreamingResponse(messages, media_type="text/event-stream", headers=headers)


@router.get("/studies/{study_id}/progress")
async def progress(request: Request, who: Asking, reading: TheReading, study_id: StudyId) -> HTMLResponse:
    """The picture of its progress, with random search's beside it: a part of its page that takes some seconds."""
    view = await asyncio.to_thread(reading.study, study_id)
    picture = pictures.progress(view, await request.app.state.rivals.of(view))
    return page("_progress.html", request, who, picture=picture)


@router.get("/studies/{study_id}/report")
def report(_who: Asking, reading: TheReading, study_id: StudyId) -> Response:
    """Its page as one file, for a mail."""
    view = reading.study(study_id)
    return Response(
        document(view),
        media_type="text/html",
        headers={"Content-Disposition": f'attachment; filename="{file_name(view.study.name)}.html"'},
    )


async def _while_signed_in(request: Request, messages: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """A page may be left open for days: now and then it has to ask anew, as somebody who may, and does so by itself."""
    session, until = dict(request.session), time.monotonic() + _ASKED_ANEW_S
    async with aclosing(messages):
        async for message in messages:
            if session in request.app.state.ended or time.monotonic() > until:
                return
            yield message
