"""All studies."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from tuner.dashboard.access import Asking
from tuner.dashboard.routes.parts import TheReading, page
from tuner.dashboard.views.studies import StudiesView, Wanted

router = APIRouter()


@router.get("/")
def studies(
    request: Request,
    who: Asking,
    reading: TheReading,
    q: str = "",
    state: str = "",
    sort: str = "created",
    order: str = "desc",
    number: Annotated[int, Query(ge=1, le=10**6)] = 1,
) -> HTMLResponse:
    """The list, filtered and sorted as its form says."""
    view = StudiesView.of(reading.overviews(), Wanted(q, state, sort, order, number))
    return page("studies.html", request, who, view=view)
