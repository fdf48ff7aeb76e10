"""One study from spec to answer: look, take the target, search, confirm, and put everything back whatever happens."""

from __future__ import annotations

import asyncio
import getpass
import itertools
import re
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tuner.core.errors import NotRestored, Refused, TunerError
from tuner.core.request import Driver
from tuner.core.target import TargetInfo
from tuner.core.undisturbed import undisturbed
from tuner.probe.workload.prompts import read_prompts
from tuner.search import Space, load_space
from tuner.store import Store, StudyRecord, StudyState, TrialRecord
from tuner.study.aim import Aim
from tuner.study.budget import Budget, Ledger
from tuner.study.claim import Claim
from tuner.study.confirm import Confirmation, confirm
from tuner.study.found import described, differs_from, recalled
from tuner.study.lengths import refuse_too_long
from tuner.study.loop import TrialLoop
from tuner.study.place import Place, informed
from tuner.study.progress import Note, Observer
from tuner.study.resuming import resume
from tuner.study.searching import Searching, searching
from tuner.study.signals import interruptible
from tuner.study.spec import StudySpec
from tuner.targets.target import Running, Target


@dataclass(frozen=True)
class Preview:
    """What a study is about to do, for the question that is asked before it begins. Nothing has been changed yet.

    `expected_s` is a first guess of how long it takes, `scarce` says what of the budget is too little by it. `resumes`
    is the study that goes on (None: a new one begins); `differs` says why an unfinished study of the same name and
    specification does not.
    """

    info: TargetInfo
    space: Space
    aim: Aim
    budget: Budget
    expected_s: float
    scarce: tuple[str, ...] = ()
    resumes: StudyRecord | None = None
    differs: str = ""


@dataclass(frozen=True)
class Ending:
    """How a study ended."""

    study: StudyRecord
    confirmation: Confirmation
    stopped_because: str


def no_http(running: Running) -> Driver:
    """The connector of sessions that only look, or whose target drives itself."""
    raise TunerError(f"nothing was given to drive {running.endpoint} with")


@dataclass
class Session:
    """One run of one study. `connect` makes the probe's driver for an engine that is reached over HTTP."""

    spec: StudySpec
    store: Store
    place: Place
    connect: Callable[[Running], Driver] = no_http
    claim: Claim = field(init=False)

    def __post_init__(self) -> None:
        self.claim = Claim(self.store)

    @property
    def target(self) -> Target:
        """The target."""
        return self.place.target

    async def look(self) -> Preview:
        """Look at the target; nothing is changed. Raises InvalidInput or Refused with the reasons."""
        if self.spec.workload.prompts_file is not None:
            await asyncio.to_thread(read_prompts, self.spec.workload.prompts_file)  # rather than after the first start
        kept = self.place.resumes
        info = informed(self.spec, recalled(await self.target.inspect(), kept))
        space = load_space(
            self.spec.engine,
            info,
            edits=self.spec.search.knobs,
            allow_output_change=self.spec.search.allow_output_change,
            real_text=self.spec.core_workload().real_text,
        )
        refuse_too_long(self.spec.core_workload(), info, space)
        differs = differs_from(kept, info) if kept else ""
        resumes = None if differs else kept
        budget, start_s = self._budget(), self._start_s(info)
        guess = (start_s, max(1, info.gpu_count), datetime.now(UTC))
        scarce = () if resumes else tuple(budget.too_little(*guess))
        return Preview(info, space, Aim.of(self.spec), budget, budget.expected_s(*guess), scarce, resumes, differs)

    async def refuse_traffic(self) -> None:
        """Raise Refused where others use the engine now, unless they may go without it."""
        live = self.spec.target.kubernetes
        if live is None or live.allow_foreign_traffic:
            return
        seen = await self.target.traffic()
        if seen:
            raise Refused(
                f"the engine serves others now ({seen}): they would wait, and be measured with the study's own load; "
                "stop their traffic (take it out of its Service or gateway for the time), tune a copy, or begin "
                "all the same with --allow-foreign-traffic"
            )

    async def run(self, preview: Preview, observe: Observer) -> Ending:
        """Carry the study out. The target is put back on every way out; a second signal does not stop that.

        Raises Interrupted after a signal, Refused where somebody else holds the target, NotRestored where putting it
        back failed, and TunerError where the study can't go on.
        """
        return await interruptible(self._run(preview, observe), lambda text: observe(Note(text)))

    # --- taking and giving back -------------------------------------------------------------------------------------

    async def _run(self, preview: Preview, observe: Observer) -> Ending:
        """Take the study and the target, work, and give both up."""
        study: StudyRecord | None = None
        try:
            # The study before the target: two processes of one study have the same right on the target.
            study = await undisturbed(self._enter(preview))
            await self._acquire(study, new=preview.resumes is None)
            return await self._hold(study, preview, observe)
        finally:
            await undisturbed(self.target.release())
            if study is not None:
                await asyncio.to_thread(self.claim.release, study)

    async def _enter(self, preview: Preview) -> StudyRecord:
        """The study, claimed: a new one, or the one that goes on, by what is asked for now."""
        study = preview.resumes
        if study is None:
            study = await asyncio.to_thread(
                self.store.create_study,
                name=await self._free_name(preview),
                spec=self.spec.to_dict(),
                target=preview.info.name,
                info={"holder": self._right(), "by": _user(), **described(preview.info)},
                now=datetime.now(UTC),
            )
        await asyncio.to_thread(self.claim.take, study)
        if preview.resumes is not None:
            spec = self.spec.to_dict()
            await asyncio.to_thread(self.store.set_spec, study.id, spec, datetime.now(UTC), by=self.claim.holder)
        return study

    def _right(self) -> str:
        """A new study's name at the target. One that follows a study that can't go on may find what that one left."""
        before = self.place.resumes
        return str(before.info["holder"]) if before else f"tuner-{uuid.uuid4().hex[:16]}"

    async def _acquire(self, study: StudyRecord, new: bool) -> None:
        try:
            await self.target.acquire(str(study.info["holder"]))
        except BaseException:
            if new:  # nothing was done for it
                await asyncio.to_thread(self.store.discard, study.id)
            raise

    async def _hold(self, study: StudyRecord, preview: Preview, observe: Observer) -> Ending:
        """Work on the study while both rights (the database's and the target's) are held."""
        working = asyncio.current_task()
        assert working is not None
        claiming = asyncio.create_task(_cancel_when(self.claim.lost(study), working))
        watching = asyncio.create_task(_cancel_when(self.target.lost(), working))
        try:
            try:
                confirmation, stopped_because, result = await self._work(study, preview, observe)
            except BaseException as error:
                with suppress(TunerError):  # the database is gone, or another has the study: its word counts
                    await self._state(study, StudyState.STOPPED, _why(error))
                raise
            finally:
                watching.cancel()
                await undisturbed(self._put_back(observe))
            # Only now: a study that is killed before goes on, which puts the target back and gives the same answer.
            study = await asyncio.to_thread(
                self.store.finish, study.id, result, str(confirmation), datetime.now(UTC), by=self.claim.holder
            )
            await self._see_it_serve(observe)
            return Ending(study, confirmation, stopped_because)
        finally:
            claiming.cancel()

    async def _put_back(self, observe: Observer) -> None:
        try:
            await self.target.restore()
        except TunerError as error:
            raise NotRestored(f"the target could not be put back: {error}") from error
        observe(Note("the target is as it was found"))

    async def _see_it_serve(self, observe: Observer) -> None:
        """Wait until the engine that was found serves again; the study has ended well whether or not it does."""
        limit_s = self.spec.rollout_deadline_s
        try:
            if not await self.target.serves_again(limit_s):
                observe(Note(f"its engine does not serve again after {limit_s:.0f} s: look at it"))
        except TunerError as error:
            observe(Note(f"whether its engine serves again could not be seen: {error}"))

    # --- the work ---------------------------------------------------------------------------------------------------

    async def search_only(self) -> list[TrialRecord]:
        """The trials of a search without a confirmation, of which nobody is told: for simulated targets."""
        preview = await self.look()
        if not preview.info.simulated:
            raise Refused(f"{preview.info.name}: only a simulated target may be left as a search has changed it")
        study = await self._enter(preview)
        await self.target.acquire(str(study.info["holder"]))
        loop, _ = await self._loop(study, preview, lambda _event: None)
        await loop.search()
        return loop.trials

    async def _work(
        self, study: StudyRecord, preview: Preview, observe: Observer
    ) -> tuple[Confirmation, str, dict[str, object]]:
        """Search and confirm: the answer, why the search ended, and what is kept of both."""
        loop, search = await self._loop(study, preview, observe)
        await self._state(study, StudyState.SEARCHING, "")
        await resume(loop)
        reason = await loop.search()
        observe(Note(f"the search ends: {reason}"))
        await self._state(study, StudyState.CONFIRMING, reason)
        confirmation = await confirm(loop, reason)
        await asyncio.to_thread(search.keep)
        result = {**confirmation.to_dict(), "stopped_because": reason, "ineffective": loop.ineffective}
        return confirmation, reason, result

    async def _loop(self, study: StudyRecord, preview: Preview, observe: Observer) -> tuple[TrialLoop, Searching]:
        search = await asyncio.to_thread(
            searching, self.spec, preview.space, preview.info, preview.aim, self.store, study
        )
        loop = TrialLoop(
            study_id=study.id,
            aim=preview.aim,
            info=preview.info,
            ledger=Ledger(preview.budget),
            store=self.store,
            target=self.target,
            connect=self.connect,
            space=preview.space,
            screen=search.screen,
            sampler=search.sampler,
            foresee=search.foresee,
            observe=observe,
            clock=self._clock(preview.info),
        )
        return loop, search

    async def _state(self, study: StudyRecord, state: StudyState, detail: str) -> None:
        await asyncio.to_thread(self.store.set_state, study.id, state, detail, datetime.now(UTC), by=self.claim.holder)

    def _clock(self, info: TargetInfo) -> Callable[[], datetime]:
        """Real time for real targets; for the simulator a calendar that runs as fast as its clock."""
        if not info.simulated:
            return lambda: datetime.now(UTC)
        begin, zero = datetime.now(UTC), self.target.now()
        return lambda: begin + timedelta(seconds=self.target.now() - zero)

    async def _free_name(self, preview: Preview) -> str:
        """The study's name; with a number behind it where an earlier study has it already."""
        wanted = self.spec.name or _slug(preview.info.name.rsplit("/", 1)[-1])
        taken = {study.name for study in await asyncio.to_thread(self.store.studies)}
        names = itertools.chain([wanted], (f"{wanted}-{number}" for number in itertools.count(2)))
        return next(name for name in names if name not in taken)

    def _budget(self) -> Budget:
        limits = self.spec.budget
        return Budget(limits.starts, limits.gpu_minutes, self.spec.until, limits.pairs)

    def _start_s(self, info: TargetInfo) -> float:
        """A first guess of how long one start takes with its measurement; nobody has seen one yet."""
        start = 60.0 if info.on_cpu else 180.0
        return start + min(240.0, self.spec.budget.probe)


def _user() -> str:
    """Who begins a study, as this machine knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return ""


async def _cancel_when(lost: Coroutine[Any, Any, str], working: asyncio.Task[Ending]) -> None:
    """Cancel the work when a right to it is lost, whatever it is doing."""
    working.cancel(await lost)


def _why(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return str(error) or "stopped by the user"
    return f"{type(error).__name__}: {error}" if not isinstance(error, TunerError) else str(error)


def _slug(target: str) -> str:
    """A name that a user could have given: `--name` takes no other letters, and no longer ones."""
    return re.sub(r"[^a-z0-9._-]+", "-", target.lower()).strip("-._")[:56].rstrip("-._")
