"""Two studies, or two trials of one, side by side."""

from __future__ import annotations

from textwrap import shorten

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tuner.dashboard.access import Asking
from tuner.dashboard.routes.parts import Chosen, StudyId, TheReading, page
from tuner.dashboard.views.comparison import StudyComparison, TrialComparison

router = APIRouter()


@router.get("/compare")
def studies(request: Request, who: Asking, reading: TheReading, a: Chosen = None, b: Chosen = None) -> HTMLResponse:
    """Two studies."""
    view = StudyComparison(reading.study(a), reading.study(b)) if a is not None and b is not None else None
    choices = [(one["id"], one["name"]) for one in reversed(reading.overviews())]
    return page("compare_studies.html", request, who, view=view, choices=choices, a=a, b=b)


@router.get("/studies/{study_id}/compare")
def trials(
    request: Request, who: Asking, reading: TheReading, study_id: StudyId, a: Chosen = None, b: Chosen = None
) -> HTMLResponse:
    """Two trials of a study."""
    study = reading.study(study_id)
    pair = None
    if a is not None and b is not None:
        pair = TrialComparison(study, reading.trial(study_id, a), reading.trial(study_id, b))
    choices = [(row.number, shorten(f"{row.number}: {row.told}", 64)) for row in study.rows if not row.record.screened]
    return page("compare_trials.html", request, who, view=pair, study=study, choices=choices, a=a, b=b)
