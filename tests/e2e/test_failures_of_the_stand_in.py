"""Every failure of a start or under load has its cause named within seconds of the evidence (made by the stand-in)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.support.deployment import EXAMPLES, Deployed, Document, deploy
from tests.e2e.support.failing import CASES, SLOW, Case, name
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.standin import quick
from tuner.core.cause import Cause

pytestmark = pytest.mark.cluster

Make = Callable[[Case], Deployed]
# As promised to users; Kubernetes tells the times of conditions and pods in whole seconds.
TOLD_WITHIN_S = {"exit": 5.0, "unschedulable": 6.0, "pod": 6.0}


@pytest.fixture
def make(kubectl: Kubectl, engine_sim_image: str) -> Make:
    """A function that deploys the stand-in edited for a failure; it does not wait."""

    def function(case: Case) -> Deployed:
        def edit(deployment: Document) -> None:
            quick(engine_sim_image)(deployment)
            case.edit(deployment)

        return deploy(kubectl, EXAMPLES / "engine-sim.yaml", {}, edit=edit, manager="helm")

    return function


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_cause_is_named_soon(make: Make, case: Case) -> None:
    named = await name(case, make(case))
    print(f"{case.name}: {named.failure.cause} after {named.after_s:.1f} s")
    assert named.failure.cause is case.cause, named.failure
    assert case.words in named.failure.message
    assert named.after_s <= TOLD_WITHIN_S[case.evidence]


@pytest.mark.parametrize("case", SLOW, ids=lambda case: case.name)
async def test_a_start_slower_than_its_budget_is_told_with_what_it_waits_for(make: Make, case: Case) -> None:
    case = Case(**{**vars(case), "evidence": "pod"})
    named = await name(case, make(case))
    assert named.failure.cause is Cause.SLOW_START
    assert case.words in named.failure.message
    assert case.deadline_s <= named.after_s <= case.deadline_s + 6.0
