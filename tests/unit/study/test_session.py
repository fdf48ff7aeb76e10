"""A study's two rights, and what becomes of both and of the target on every way out."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.study.studies import Studies, Target, nothing, slowly
from tuner.core.errors import Refused, TunerError
from tuner.store import StoreError, StudyState
from tuner.store.claims import Claims

OTHER = "otherhost:9:y"


async def test_a_study_that_is_worked_on_elsewhere_is_refused_and_its_target_let_go(studies: Studies) -> None:
    await studies.killed(2)
    assert studies.store.claims.take(1, OTHER, datetime.now(UTC), 60)
    target = Target()
    with pytest.raises(Refused, match=OTHER):
        await studies.run(target)
    assert (target.released, target.restored) == (1, 0)
    assert studies.store.study_by_id(1).holder == OTHER


async def test_a_target_that_is_held_elsewhere_leaves_no_study_behind(studies: Studies) -> None:
    target = Target()
    await target.acquire("somebody else")
    with pytest.raises(Refused, match="somebody else"):
        await studies.run(target)
    assert studies.store.studies() == []


async def test_a_study_without_a_name_gets_one_that_a_user_could_have_given(studies: Studies) -> None:
    names = [(await studies.run(Target())).study.name for _ in range(2)]
    assert names == ["llama-3.1-8b-h100", "llama-3.1-8b-h100-2"]
    assert all(studies.spec(name=name).name == name for name in names)


async def test_a_database_that_fails_for_a_moment_loses_no_claim(
    studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew, asked = Claims.renew, []

    def once_broken(claims: Claims, *arguments: Any) -> bool:
        asked.append(claims)
        if len(asked) == 1:
            raise StoreError("database is locked")
        return renew(claims, *arguments)

    monkeypatch.setattr(Claims, "renew", once_broken)
    others: list[bool] = []

    async def try_to_take(_: int) -> None:
        await asyncio.sleep(0.3)
        others.append(studies.store.claims.take(1, OTHER, datetime.now(UTC), 60))

    await studies.run(Target(try_to_take), claim_s=1.2)
    assert len(asked) > 1
    assert not any(others)
    assert studies.store.study_by_id(1).state is StudyState.FINISHED


async def test_a_claim_that_can_not_be_renewed_stops_the_work_before_it_runs_out(
    studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def broken(*_: Any) -> bool:
        asked.append(time.monotonic())
        raise StoreError("no database")

    monkeypatch.setattr(Claims, "renew", broken)
    target = Target(slowly)
    with pytest.raises(TunerError, match="could not be renewed"):
        await studies.run(target, claim_s=0.4)
    assert time.monotonic() - asked[0] < 1.0
    assert (target.restored, target.released) == (1, 1)


async def test_who_takes_a_study_over_is_not_written_over(studies: Studies) -> None:
    async def lose(_: int) -> None:
        studies.store.claims.release(1, studies.store.study_by_id(1).holder or "")
        studies.store.claims.take(1, OTHER, datetime.now(UTC), 60)
        studies.store.set_state(1, StudyState.CONFIRMING, "theirs", datetime.now(UTC), by=OTHER)
        await asyncio.sleep(5)

    target = Target(lose)
    with pytest.raises(TunerError, match="somebody else has taken the study over"):
        await studies.run(target, claim_s=0.8)
    kept = studies.store.study_by_id(1)
    assert (kept.holder, kept.state, kept.detail) == (OTHER, StudyState.CONFIRMING, "theirs")
    assert target.released == 1


async def test_a_right_to_the_target_that_is_lost_stops_the_work_at_once(studies: Studies) -> None:
    async def lose(_: int) -> None:
        target.taken.set()
        await asyncio.sleep(5)

    target = Target(lose)
    began = asyncio.get_running_loop().time()
    with pytest.raises(TunerError, match="stopped: the lease was taken over by another"):
        await studies.run(target)
    assert asyncio.get_running_loop().time() - began < 2.0
    assert (target.restored, target.released) == (1, 1)
    assert studies.store.study_by_id(1).detail == "the lease was taken over by another"


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_study_is_refused_while_others_use_the_engine(studies: Studies, allowed: bool) -> None:
    class Busy(Target):
        async def traffic(self) -> str:
            return "3.3 requests/s"

    session = studies.session(Busy())
    session.spec = studies.spec(simulated=None, namespace="ns", allow_foreign_traffic=allowed or None)
    if allowed:
        await session.refuse_traffic()
        return
    with pytest.raises(Refused, match=r"3\.3 requests/s.*--allow-foreign-traffic"):
        await session.refuse_traffic()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Target(nothing, uid="2"), "was of another Deployment of this name"),
        (Target(nothing, image="vllm:0.12"), "was measured with another image"),
    ],
)
async def test_a_study_goes_on_with_the_same_target_alone(studies: Studies, other: Target, reason: str) -> None:
    await studies.killed(2)
    preview = await studies.session(other).look()
    assert preview.resumes is None
    assert reason in preview.differs
    same = await studies.session(Target()).look()
    assert same.resumes == studies.store.studies()[0]
    assert not same.differs
    await studies.run(other)
    assert len(studies.store.studies()) == 2
    assert all(trial.recorded for trial in studies.trials())


async def test_a_study_that_goes_on_keeps_what_is_asked_for_now(studies: Studies) -> None:
    await studies.killed(2, starts=7)
    await studies.run(Target(), starts=8)
    (study,) = studies.store.studies()
    assert study.spec["budget"]["starts"] == 8
