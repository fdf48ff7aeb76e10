"""Optuna's tables beside ours, used in turns as a trial does: our record commits first, then Optuna is told."""

from __future__ import annotations

from datetime import UTC, datetime

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import create_engine, inspect

from tests.unit.store.test_database import differences
from tuner.core.knob import Candidate
from tuner.core.measurement import Verdict
from tuner.store import Store, TrialKind

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_both_write_in_turns_and_neither_waits_for_the_other(url: str) -> None:
    with Store.open(url) as store:
        study = store.create_study(name="a", spec={}, target="t", info={}, now=NOW)
        with store.setup_lock():
            storage = RDBStorage(store.url)
        try:
            optuna_study = optuna.create_study(storage=storage, study_name="a", direction="maximize")
            for _ in range(5):
                suggested = optuna_study.ask()
                x = suggested.suggest_int("x", 1, 9)
                trial = store.add_trial(
                    study.id,
                    kind=TrialKind.SEARCH,
                    candidate=Candidate.of(x=x),
                    reason="",
                    ticket=suggested.number,
                    now=NOW,
                )
                store.record(trial.id, verdict=Verdict(float(x), {"slo": -0.1}), now=NOW)
                suggested.set_constraint("slo", -0.1)
                optuna_study.tell(suggested, float(x))
                store.mark_told(trial.id, NOW)
            theirs = {t.number: (t.params["x"], t.value) for t in optuna_study.trials}
            ours = {t.ticket: (t.candidate["x"], t.verdict and t.verdict.value) for t in store.trials(study.id)}
            assert ours == theirs
        finally:
            storage.remove_session()
            storage.engine.dispose()


def test_opening_again_beside_optunas_tables_changes_none_of_them(url: str) -> None:
    with Store.open(url) as store:
        storage = RDBStorage(store.url)
        storage.remove_session()
        storage.engine.dispose()
        engine = create_engine(store.url)
        before = set(inspect(engine).get_table_names())
        assert differences(store.url) == []
    with Store.open(url):
        assert set(inspect(engine).get_table_names()) == before
    engine.dispose()
    assert {"studies", "trials", "alembic_version", "tuner_studies", "tuner_alembic_version"} <= before
