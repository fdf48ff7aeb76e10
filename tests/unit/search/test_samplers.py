"""The sampler's contract, for every sampler there is."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tests.unit.search.targets import cpu_target, small_space, whole_space
from tuner.core.cause import Cause, Failure
from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict
from tuner.search import OptunaSampler, RandomSampler, Sampler, Space, load_space

SLOS = ("ttft p95 <= 500ms", "itl p99 <= 60ms")
Make = Callable[..., OptunaSampler]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Samplers on one database file, closed afterwards."""
    with contextlib.ExitStack() as stack:

        def open_sampler(space: Space, seed: int = 7, name: str = "study", **more: object) -> OptunaSampler:
            url = f"sqlite:///{tmp_path}/tuner.db"
            sampler = OptunaSampler(space, url, name, seed, slos=SLOS, **more)  # type: ignore[arg-type]
            stack.callback(sampler.close)
            return sampler

        yield open_sampler


def feasible(value: float) -> Verdict:
    return Verdict(value, {SLOS[0]: -0.5, SLOS[1]: -0.1})


def infeasible(*violations: float) -> Verdict:
    return Verdict(None, dict(zip(SLOS, violations, strict=True)))


def failed(grade: float) -> Verdict:
    missing = dict.fromkeys(SLOS, 1.0)
    return Verdict(None, {**missing, "failure": grade}, Failure(Cause.GPU_OOM_AT_START, "out of memory"))


def judge(candidate: Candidate) -> Verdict:
    """A surface with a cliff, an SLO and a best in between."""
    seqs, tokens = float(candidate["max_num_seqs"]), float(candidate["max_num_batched_tokens"])
    if seqs > 700:
        return failed(100.0 + seqs / 1000)
    if tokens > 4096:
        return infeasible(tokens / 4096 - 1, -0.2)
    return feasible(seqs**0.5 - abs(tokens - 2048) / 1000)


@pytest.fixture(params=["tpe", "random"])
def sampler_of(request: pytest.FixtureRequest, make: Make) -> Callable[[Space], Sampler]:
    def build(space: Space) -> Sampler:
        return make(space) if request.param == "tpe" else RandomSampler(space, 7)

    return build


def test_suggestions_lie_in_the_space_and_never_repeat(sampler_of: Callable[[Space], Sampler]) -> None:
    space = whole_space()
    sampler = sampler_of(space)
    baseline = space.complete({"max_num_seqs": 200}, {"max_num_batched_tokens": 2048})
    sampler.tell(sampler.adopt(baseline), judge(baseline))
    seen = {baseline.key}
    for index in range(18):
        suggestion = sampler.suggest()
        assert suggestion is not None
        assert space.problems(suggestion.candidate) == []
        assert suggestion.candidate.key not in seen
        assert suggestion.reason
        seen.add(suggestion.candidate.key)
        if index % 5 == 2:
            sampler.skip(suggestion.ticket)
        else:
            sampler.tell(suggestion.ticket, judge(suggestion.candidate))
            sampler.tell(suggestion.ticket, judge(suggestion.candidate))


def test_small_space_is_searched_to_its_end_and_no_further(sampler_of: Callable[[Space], Sampler]) -> None:
    space = small_space()
    sampler = sampler_of(space)
    adopted = space.repair({"max_num_seqs": 64, "max_num_batched_tokens": 512})
    sampler.tell(sampler.adopt(adopted), feasible(1.0))
    found = []
    while (suggestion := sampler.suggest()) is not None:
        found.append(suggestion.candidate)
        sampler.skip(suggestion.ticket) if len(found) % 2 else sampler.tell(suggestion.ticket, feasible(len(found)))
    assert {candidate.key for candidate in found} == {c.key for c in space.candidates()} - {adopted.key}
    assert len(found) == 7
    assert sampler.suggest() is None


def test_space_without_knobs_is_exhausted_at_once(sampler_of: Callable[[Space], Sampler]) -> None:
    assert sampler_of(Space(())).suggest() is None


def test_adopting_again_returns_the_same_ticket(sampler_of: Callable[[Space], Sampler]) -> None:
    space = small_space()
    sampler = sampler_of(space)
    ticket = sampler.adopt(Candidate.of(max_num_seqs=64))
    sampler.tell(ticket, feasible(1.0))
    assert sampler.adopt(Candidate.of(max_num_seqs=64)) == ticket
    assert sampler.adopt(Candidate.of(max_num_seqs=32)) != ticket


def test_unknown_ticket_is_an_error(sampler_of: Callable[[Space], Sampler]) -> None:
    with pytest.raises(LookupError):
        sampler_of(small_space()).tell(3, feasible(1.0))


def test_first_candidates_come_first_in_order_and_repaired(make: Make) -> None:
    space = whole_space()
    first = [
        (Candidate.of(max_num_seqs=128), "prior 1"),
        (Candidate.of(max_num_seqs=129), "the same once repaired"),
        (Candidate.of(max_num_seqs=512), "prior 2"),
    ]
    for sampler in (make(space, first=first), RandomSampler(space, 1, first)):
        got = [sampler.suggest() for _ in range(3)]
        assert [s.reason for s in got if s][:2] == ["prior 1", "prior 2"]
        assert [s.candidate["max_num_seqs"] for s in got if s][:2] == [128, 512]


def test_tpe_decides_after_few_trials_with_every_parameter_in_each(make: Make, tmp_path: Path) -> None:
    space = whole_space()
    sampler = make(space, startup=3)
    baseline = space.complete({}, {"max_num_seqs": 256})
    sampler.tell(sampler.adopt(baseline), judge(baseline))
    reasons = []
    for _ in range(5):
        suggestion = sampler.suggest()
        assert suggestion is not None
        reasons.append(suggestion.reason)
        sampler.tell(suggestion.ticket, judge(suggestion.candidate))
    assert reasons == ["fills the space", "fills the space", "TPE", "TPE", "TPE"]
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{tmp_path}/tuner.db")
    knobs = {knob.name for knob in space.knobs}
    assert all(set(trial.params) == knobs for trial in study.trials)
    assert len({tuple(trial.constraints) for trial in study.trials}) == 1
    off = [t for t in study.trials if t.params["speculative_method"] == "off"]
    assert off
    assert all(trial.params["num_speculative_tokens"] == 0 for trial in off)
    study._storage.remove_session()


def test_screened_suggestions_teach_nothing_and_end_the_insisting(make: Make) -> None:
    space = whole_space()
    sampler = make(space, startup=2)
    for value in (1.0, 9.0, 2.0):
        suggestion = sampler.suggest()
        assert suggestion is not None
        sampler.tell(suggestion.ticket, feasible(value))
    reasons = []
    for _ in range(10):
        suggestion = sampler.suggest()
        assert suggestion is not None
        sampler.skip(suggestion.ticket)
        reasons.append(suggestion.reason)
    assert "drawn at random" in reasons[6:]
    assert "drawn at random" not in reasons[:6]


@pytest.mark.parametrize("seed", range(3))
def test_a_space_of_which_little_fits_is_filled_all_the_same(make: Make, seed: int) -> None:
    space = whole_space()
    sampler = make(space, seed, startup=4)
    baseline = space.complete({"max_num_seqs": 8, "max_num_batched_tokens": 512})
    sampler.tell(sampler.adopt(baseline), feasible(1.0))
    started = []
    for _ in range(100):  # what fits lies beside the baseline, and the emptiest corner is the farthest from it
        suggestion = sampler.suggest()
        assert suggestion is not None
        candidate = suggestion.candidate
        if int(candidate["max_num_seqs"]) <= 64 and int(candidate["max_num_batched_tokens"]) <= 2048:
            started.append(candidate)
            sampler.tell(suggestion.ticket, feasible(2.0))
        else:
            sampler.skip(suggestion.ticket)
    assert len(started) >= 4


# --- resuming ---------------------------------------------------------------------------------------------------------


def test_resumed_study_goes_on_as_if_it_had_not_stopped(make: Make) -> None:
    space = whole_space()

    def run(sampler: Sampler, trials: int) -> list[Candidate]:
        found = []
        for _ in range(trials):
            suggestion = sampler.suggest()
            assert suggestion is not None
            sampler.tell(suggestion.ticket, judge(suggestion.candidate))
            found.append(suggestion.candidate)
        return found

    whole = run(make(space, name="whole"), 8)
    begun = run(make(space, name="cut"), 5)
    lost = make(space, name="cut").suggest()  # asked for and killed before it was on record
    assert lost is not None
    resumed = make(space, name="cut")
    resumed.close_stale([0, 1, 2, 3, 4])
    assert begun + run(resumed, 3) == whole


def test_open_suggestion_on_record_is_told_after_a_crash(make: Make, tmp_path: Path) -> None:
    space = whole_space()
    suggestion = make(space).suggest()
    assert suggestion is not None
    resumed = make(space)
    resumed.close_stale([suggestion.ticket])
    resumed.tell(suggestion.ticket, feasible(5.0))
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{tmp_path}/tuner.db")
    assert study.trials[suggestion.ticket].value == 5.0
    study._storage.remove_session()


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_telling_again_finishes_what_a_kill_interrupted(make: Make, tmp_path: Path, done: int) -> None:
    """Killed after any number of constraints: telling again sets the rest and no warning is raised."""
    space = whole_space()
    sampler = make(space)
    suggestion = sampler.suggest()
    assert suggestion is not None
    verdict = infeasible(0.25, 0.5)
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{tmp_path}/tuner.db")
    trial = optuna.trial.Trial(study, study.trials[suggestion.ticket]._trial_id)
    for name, value in itertools.islice([*verdict.violations.items(), ("failure", 0.0)], done):
        trial.set_constraint(name, value)
    make(space).tell(suggestion.ticket, verdict)
    told = study.trials[suggestion.ticket]
    assert told.state is TrialState.PRUNED
    assert told.constraints == {**verdict.violations, "failure": 0.0}
    study._storage.remove_session()


def test_verdict_must_be_finite(make: Make) -> None:
    sampler = make(small_space())
    suggestion = sampler.suggest()
    assert suggestion is not None
    for bad in (infeasible(float("nan"), 0.1), infeasible(float("inf"), 0.1), feasible(float("inf"))):
        with pytest.raises(ValueError, match="finite"):
            sampler.tell(suggestion.ticket, bad)
    sampler.tell(suggestion.ticket, feasible(1.0))


def test_random_sampler_goes_on_from_a_history() -> None:
    space = load_space("vllm", cpu_target())
    whole = RandomSampler(space, 3)
    whole.tell(whole.adopt(space.complete({})), feasible(1.0))
    candidates = [s.candidate for s in (whole.suggest() for _ in range(6)) if s]
    resumed = RandomSampler(space, 3, history=candidates[:4])
    suggestion = resumed.suggest()
    assert suggestion is not None
    assert (suggestion.candidate, suggestion.ticket) == (candidates[4], 4)
