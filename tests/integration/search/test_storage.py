"""Optuna's tables beside ours in one real database, and searches that are worth their starts."""

import multiprocessing
import sqlite3
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.unit.search.targets import small_space, target
from tuner.core.cause import Cause, Failure
from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict
from tuner.search import OptunaSampler, RandomSampler, Sampler, load_space
from tuner.search import storage as storage_module
from tuner.search.storage import open_storage
from tuner.store import Store, TrialKind

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def judge(candidate: Candidate) -> Verdict:
    """A surface with a cliff, an SLO and a best in between."""
    seqs, tokens = float(candidate["max_num_seqs"]), float(candidate["max_num_batched_tokens"])
    if seqs > 700:
        return Verdict(None, {"s": 1.0, "failure": 100.0}, Failure(Cause.GPU_OOM_AT_START, "out of memory"))
    if tokens > 4096:
        return Verdict(None, {"s": tokens / 4096 - 1})
    return Verdict(seqs**0.5 - abs(tokens - 2048) / 1000, {"s": -0.1})


def best(sampler: Sampler) -> float:
    """The best value after 16 starts."""
    values = [0.0]
    for _ in range(16):
        suggestion = sampler.suggest()
        assert suggestion is not None
        verdict = judge(suggestion.candidate)
        sampler.tell(suggestion.ticket, verdict)
        values.append(verdict.value or 0.0)
    if isinstance(sampler, OptunaSampler):
        sampler.close()
    return max(values)


@pytest.mark.parametrize("misled", [False, True])
def test_tpe_finds_more_than_an_even_draw(tmp_path: Path, misled: bool) -> None:
    """With the same starts, summed over seeds; also where a prior with the wrong sign chose the first three."""
    space = load_space("vllm", target(), {"block_size": "drop", "enable_prefix_caching": "drop"})
    first = [(Candidate.of(max_num_seqs=16, max_num_batched_tokens=n), "wrong") for n in (512, 8192, 32768)]
    url = f"sqlite:///{tmp_path}/tuner.db"
    seeds = range(6)
    tpe = sum(best(OptunaSampler(space, url, f"{n}", n, first if misled else (), slos=["s"])) for n in seeds)
    drawn = sum(best(RandomSampler(space, seed)) for seed in seeds)
    assert tpe > drawn


def test_sampler_and_our_record_share_one_database(tmp_path: Path) -> None:
    """Ours commits first and holds nothing open: telling Optuna in between never waits for a lock."""
    space = small_space()
    with Store.open(f"sqlite:///{tmp_path}/tuner.db") as store:
        study = store.create_study(name="s", spec={}, target="t", info={}, now=NOW)
        sampler = OptunaSampler(space, store.url, "s", 1, slos=["s"], lock=store.setup_lock())
        for _ in range(3):
            suggestion = sampler.suggest()
            assert suggestion is not None
            trial = store.add_trial(
                study.id,
                kind=TrialKind.SEARCH,
                candidate=suggestion.candidate,
                reason=suggestion.reason,
                ticket=suggestion.ticket,
                now=NOW,
            )
            verdict = judge(suggestion.candidate)
            store.record(trial.id, verdict=verdict, measurement=None, facts=None, start_s=1.0, gpu_s=1.0, now=NOW)
            sampler.tell(suggestion.ticket, verdict)
            store.mark_told(trial.id, NOW)
        again = OptunaSampler(space, store.url, "s", 1, slos=["s"], lock=store.setup_lock())
        again.close_stale([trial.ticket for trial in store.trials(study.id) if trial.ticket is not None])
        seen = {trial.candidate.key for trial in store.trials(study.id)}
        suggestion = again.suggest()
        assert suggestion is not None
        assert suggestion.candidate.key not in seen
        sampler.close()
        again.close()


def _open_at_once(url: str, barrier: Barrier, errors: "multiprocessing.SimpleQueue[str]") -> None:
    barrier.wait()
    try:
        sampler = OptunaSampler(small_space(), url, "shared", 1)
        sampler.suggest()
        sampler.close()
    except Exception as error:  # told to the parent, which fails on it
        errors.put(repr(error))


def test_processes_that_make_the_tables_at_once_do_not_break_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(3):
        barrier, errors = context.Barrier(3), context.SimpleQueue()
        url = f"sqlite:///{tmp_path}/{attempt}.db"
        workers = [context.Process(target=_open_at_once, args=(url, barrier, errors)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert errors.empty(), errors.get()
        assert [worker.exitcode for worker in workers] == [0, 0, 0]


def test_braces_in_a_password_reach_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """RDBStorage formats its URL; without escaping this is a KeyError before any connection is tried."""
    opened: list[str] = []

    class Recorder(storage_module.RDBStorage):
        def __init__(self, url: str, **_: object) -> None:
            opened.append(self._fill_storage_url_template(url))
            raise ConnectionRefusedError

    monkeypatch.setattr(storage_module, "RDBStorage", Recorder)
    url = "postgresql+psycopg://tuner:p{a}ss{@localhost:1/tuner"
    with pytest.raises(ConnectionRefusedError):
        open_storage(url)
    assert make_url(opened[0]).password == make_url(url).password == "p{a}ss{"


def test_storage_that_stays_broken_raises_its_own_error(tmp_path: Path) -> None:
    path = tmp_path / "not.db"
    path.write_bytes(b"this is no database" * 100)
    waits: list[float] = []
    with pytest.raises(Exception, match="not a database"):
        open_storage(f"sqlite:///{path}", sleep=waits.append)
    assert waits == sorted(waits)
    assert len(waits) == 4


def test_small_writes_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/tuner.db")
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
    storage.engine.dispose()
    plain = sqlite3.connect(tmp_path / "tuner.db")
    assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()
