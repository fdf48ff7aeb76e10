"""What is done about a winner: look at it as of today, take it along, decide, apply it, take it back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tuner.core.errors import InvalidInput, Refused, TunerError
from tuner.dashboard import decisions
from tuner.dashboard.access import Asking, Operator, Reviewer
from tuner.dashboard.changes import Changes, Kind, mark
from tuner.dashboard.config import Config
from tuner.dashboard.document import file_name
from tuner.dashboard.routes.parts import StudyId, TheConfig, TheReading, page
from tuner.dashboard.views.study import StudyView
from tuner.study.exports import Export, exports
from tuner.study.staleness import compared, doubts, look, runs_winner, stale
from tuner.study.winner import Winner, winner_of

router = APIRouter()


@router.get("/studies/{study_id}/today")
async def today(
    request: Request, who: Asking, reading: TheReading, config: TheConfig, study_id: StudyId
) -> HTMLResponse:
    """Whether it still holds, and the winner in every format: a part of the study's page, or a page of its own."""
    view = await asyncio.to_thread(reading.study, study_id)
    winner = winner_of(view.study)
    seen, formats = await asyncio.gather(look(view.study, config.cluster), _formats(winner, config))
    template = "_today.html" if request.headers.get("hx-request") else "today.html"
    return page(
        template,
        request,
        who,
        view=view,
        winner=winner,
        doubts=stale(view.study, seen, datetime.now(UTC)),
        compared=compared(view.study, seen),
        adopted=runs_winner(view.study, seen),
        formats=formats,
    )


@router.get("/studies/{study_id}/exports/{name}")
async def export(_who: Asking, reading: TheReading, config: TheConfig, study_id: StudyId, name: str) -> Response:
    """One format, as a file."""
    view = await asyncio.to_thread(reading.study, study_id)
    formats = await _formats(winner_of(view.study), config)
    if name not in formats:
        raise InvalidInput(f"{name!r} is no format; allowed: {', '.join(formats)}")
    found = formats[name]
    if found.withheld:
        raise Refused(found.withheld)
    headers = {"Content-Disposition": f'attachment; filename="{file_name(found.file)}"'}
    return Response(found.text, media_type=found.format.kind, headers=headers)


@router.post("/studies/{study_id}/reviews")
async def decide(
    who: Reviewer,
    reading: TheReading,
    study_id: StudyId,
    decision: Annotated[decisions.Word, Form()],
    comment: Annotated[str, Form()] = "",
    seen: Annotated[int | None, Form(ge=0)] = None,
) -> Response:
    """Approve or reject."""
    await asyncio.to_thread(decisions.decide, reading, study_id, decision, comment, who, seen=seen)
    return RedirectResponse(f"/studies/{study_id}#review", 303)


@router.get("/studies/{study_id}/changes/{kind}")
async def preview(
    request: Request, who: Operator, reading: TheReading, config: TheConfig, study_id: StudyId, kind: Kind
) -> HTMLResponse:
    """What would be changed, with the button that does it."""
    view, winner = await _changeable(reading, study_id, kind)
    diff, caution = await _changes(request).preview(winner, kind)
    said = await doubts(view.study, config.cluster) if kind is Kind.APPLY and diff is not None else []
    return page(
        "change.html",
        request,
        who,
        view=view,
        winner=winner,
        kind=kind.value,
        diff=diff,
        seen="" if diff is None else mark(diff),
        warnings=[*said, *filter(None, [caution])],
    )


@router.post("/studies/{study_id}/changes/{kind}")
async def change(
    request: Request, who: Operator, reading: TheReading, study_id: StudyId, kind: Kind, seen: Annotated[str, Form()]
) -> Response:
    """Begin it."""
    _view, winner = await _changeable(reading, study_id, kind)
    _changes(request).begin(study_id, winner, kind, seen, who)
    return RedirectResponse(f"/studies/{study_id}/change", 303)


@router.get("/studies/{study_id}/change")
async def progress(request: Request, who: Asking, reading: TheReading, study_id: StudyId) -> HTMLResponse:
    """How it goes: a part that asks for itself again until it is over."""
    found = _changes(request).of(study_id)
    if found is None:
        raise HTTPException(404, "nothing was changed since the dashboard was started")
    template = "_change.html" if request.headers.get("hx-request") else "changing.html"
    view = await asyncio.to_thread(reading.study, study_id)
    return page(template, request, who, view=view, change=found)


async def _changeable(reading: TheReading, study_id: StudyId, kind: Kind) -> tuple[StudyView, Winner]:
    """The study and its winner, if this may be done with it. Raises Refused otherwise."""
    view = await asyncio.to_thread(reading.study, study_id)
    winner = winner_of(view.study)
    if kind is Kind.APPLY and not view.recommendation.approved:
        raise Refused(f"the winner of study {view.study.name} is not approved; approve it first")
    return view, winner


def _changes(request: Request) -> Changes:
    changes: Changes = request.app.state.changes
    return changes


async def _formats(winner: Winner, config: Config) -> dict[str, Export]:
    if winner.simulated:
        return await exports(winner, None)
    try:
        async with config.cluster.client() as client:
            return await exports(winner, client)
    except TunerError as error:
        return await exports(winner, None, str(error))
