"""What planner and simulator expect of a configuration: `tuner plan` as a form."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tuner.core.errors import InvalidInput, TunerError
from tuner.dashboard.access import Asking, Forbidden
from tuner.dashboard.routes.parts import TheReading, page
from tuner.dashboard.views.plan import PlanView, Wish
from tuner.simulator.catalogue import GPUS, MODELS
from tuner.study.planning import Plan, look_and_plan
from tuner.study.session import Preview
from tuner.study.spec import load_spec

router = APIRouter()
_CHOICES = {"gpus": list(GPUS), "models": list(MODELS)}


@router.get("/plan")
async def plan(request: Request, who: Asking, reading: TheReading) -> HTMLResponse:
    """The form, and what is expected of what it says."""
    wish = Wish.of(request.query_params)
    found: tuple[Preview, Plan] | None = None
    complaints: tuple[str, ...] = ()
    if wish.complete:
        if request.headers.get("sec-fetch-site") == "cross-site":
            raise Forbidden("another site's page asked for this")
        try:
            async with request.app.state.planning:  # one at a time: each takes a core for some seconds
                found = await look_and_plan(load_spec(None, wish.given()), reading.store, wish.values(), first=3)
        except InvalidInput as error:
            complaints = error.problems
        except TunerError as error:
            complaints = (str(error),)
    view = None if found is None else PlanView(*found)
    return page("plan.html", request, who, wish=wish, view=view, complaints=complaints, choices=_CHOICES)
