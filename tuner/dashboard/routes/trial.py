"""One trial."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tuner.dashboard.access import Asking
from tuner.dashboard.routes.parts import Number, StudyId, TheReading, page
from tuner.dashboard.views.trial import TrialView

router = APIRouter()


@router.get("/studies/{study_id}/trials/{number}")
def trial(request: Request, who: Asking, reading: TheReading, study_id: StudyId, number: Number) -> HTMLResponse:
    """Its page."""
    found, view = reading.trial(study_id, number), reading.study(study_id)  # in this order the study has it, too
    first = view.baseline
    before = None if first is None or first.number == number else reading.trial(study_id, first.number)
    return page("trial.html", request, who, view=TrialView(view, found, before))
