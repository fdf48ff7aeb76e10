"""The JSON API: what pages show, for programs. It is the data of `-o json`, and changes nothing but reviews.

Its description is at /api/openapi.json.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from tuner.dashboard import decisions
from tuner.dashboard.access import Asking, Reviewer
from tuner.dashboard.reading import listed
from tuner.dashboard.routes.parts import Number, StudyId, TheReading
from tuner.store import Review
from tuner.study.report import objective_of, short_report, trial_row
from tuner.study.standing import baseline, value_of


class Json(JSONResponse):
    """JSON in ASCII, as `-o json` is: no answer can have the half characters that names of files may have."""

    def render(self, content: Any) -> bytes:
        """Its text."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


class Failed(BaseModel):
    """What is answered where something is wrong."""

    detail: str


router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["studies"],
    responses={
        401: {"model": Failed, "description": "Sign in: send `Authorization: Bearer TOKEN`"},
        422: {"model": Failed, "description": "The request can't be read"},
        503: {"model": Failed, "description": "The database can't be read"},
    },
)
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Failed, "description": "There is no such study or trial"}}
_CHANGES: dict[int | str, dict[str, Any]] = {
    **_UNKNOWN,
    403: {"model": Failed, "description": "The dashboard was not started with this right"},
    409: {"model": Failed, "description": "The study has no winner, or somebody decided meanwhile"},
}


@router.get("/studies")
def studies(_who: Asking, reading: TheReading) -> list[dict[str, Any]]:
    """All studies, oldest first, as `tuner studies -o json` and with their ids."""
    return reading.overviews()


@router.get("/studies/{study_id}", responses=_UNKNOWN)
def study(_who: Asking, reading: TheReading, study_id: StudyId) -> dict[str, Any]:
    """One study as `tuner show -o json`, its trials' levels in short, and with what was decided."""
    view = reading.study(study_id)
    return {
        **short_report(view.study, view.trials),
        **listed(view),
        "reviews": [_review(one) for one in view.reviews],
    }


@router.get("/studies/{study_id}/trials/{number}", responses=_UNKNOWN)
def trial(_who: Asking, reading: TheReading, study_id: StudyId, number: Number) -> dict[str, Any]:
    """One trial with its levels, their distributions and time series, as in `tuner show -o json`."""
    view = reading.study(study_id)
    return trial_row(reading.trial(study_id, number), value_of(baseline(view.trials)), objective_of(view.study))


@router.get("/studies/{study_id}/reviews", responses=_UNKNOWN)
def reviews(_who: Asking, reading: TheReading, study_id: StudyId) -> list[dict[str, Any]]:
    """What people decided on the winner, oldest first."""
    return [_review(one) for one in reading.study(study_id).reviews]


class Deciding(BaseModel):
    """A decision on a winner."""

    model_config = ConfigDict(extra="forbid")

    decision: decisions.Word
    comment: Annotated[str, Field(max_length=decisions.LONGEST_COMMENT)] = ""
    seen: Annotated[int | None, Field(ge=0, description="How many decisions you know of; more are a conflict")] = None


@router.post("/studies/{study_id}/reviews", status_code=201, responses=_CHANGES)
async def decide(
    who: Reviewer, reading: TheReading, study_id: StudyId, body: Deciding, response: Response
) -> dict[str, Any]:
    """Approve or reject a study's winner."""
    response.headers["Location"] = f"/api/v1/studies/{study_id}/reviews"
    decide_ = partial(decisions.decide, seen=body.seen)
    return _review(await asyncio.to_thread(decide_, reading, study_id, body.decision, body.comment, who))


def _review(one: Review) -> dict[str, Any]:
    return {
        "decision": one.decision.value,
        "comment": one.comment,
        "who": one.who,
        "vouched": one.vouched,
        "made": one.made.isoformat(timespec="seconds"),
    }
