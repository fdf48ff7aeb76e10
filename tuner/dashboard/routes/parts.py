"""What routes share: the parts of the application that a request reaches."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query, Request
from fastapi.responses import HTMLResponse

from tuner.dashboard.access import Visitor
from tuner.dashboard.config import Config
from tuner.dashboard.reading import Reading
from tuner.dashboard.templating import render


def _reading(request: Request) -> Reading:
    reading: Reading = request.app.state.reading
    return reading


def _config(request: Request) -> Config:
    config: Config = request.app.state.config
    return config


#: A database has no larger numbers.
_LARGEST = 2**63 - 1
StudyId = Annotated[int, Path(ge=0, le=_LARGEST, description="The study's id, as in the list of studies")]
Number = Annotated[int, Path(ge=0, le=_LARGEST, description="The trial's number in its study")]
Chosen = Annotated[int | None, Query(ge=0, le=_LARGEST)]

TheReading = Annotated[Reading, Depends(_reading)]
TheConfig = Annotated[Config, Depends(_config)]


def page(template: str, request: Request, who: Visitor, **values: object) -> HTMLResponse:
    """A page."""
    return HTMLResponse(render(template, request, who, **values))
