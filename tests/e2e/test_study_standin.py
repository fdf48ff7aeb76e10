"""A study of a live Deployment as its user sees it, on the stand-in: the answer, what is done with it, and Ctrl-C."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.support.cluster import Cluster
from tests.e2e.support.command import Point, Ran, Tuner
from tests.e2e.support.deployment import Document, container
from tests.e2e.support.standin import BASELINE_ALONE, BASELINE_SEQS, WINNER_SEQS, WITH_WINNER, Bench, bench, storage

pytestmark = pytest.mark.cluster

ORIGINAL = "tuner.dev/original"


@dataclass
class Studied:
    """A finished study, and the folder in which its user works."""

    bench: Bench
    tuner: Tuner
    ran: Ran
    replicasets: list[str]  # before
    pods: list[str]

    def command(self, name: str, *more: str) -> Ran:
        """Run another command on it."""
        return self.tuner.run(name, "--storage", storage(self.tuner), *more)


@pytest.fixture(scope="module")
def studied(cluster: Cluster, engine_sim_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studied]:
    """One study for all tests of what follows it."""
    # Half as fast as it would be: then what a busy machine adds to its latencies matters less to the answer.
    with bench(cluster, engine_sim_image, SPEED="0.5") as made:
        tuner = Tuner(cluster.kubeconfig, tmp_path_factory.mktemp("user"))
        replicasets, pods = made.replicasets(), [pod["metadata"]["name"] for pod in made.engine.pods()]
        ran = made.start(tuner, *WITH_WINNER, timeout_s=240)
        yield Studied(made, tuner, ran, replicasets, pods)


@pytest.fixture
def engine(studied: Studied) -> Bench:
    """The engine of that study, as it was found."""
    studied.bench.renew()
    return studied.bench


def test_a_study_ends_with_an_answer_and_an_untouched_deployment(studied: Studied) -> None:
    studied.ran.succeeded()
    assert "better by" in studied.ran.out, studied.ran.out
    assert "tuner export" in studied.ran.out
    assert "the target is as it was found" in studied.ran.out
    made = studied.bench
    made.assert_as_it_was()
    assert made.leases() == []
    # The original's own ReplicaSet runs again, in a fresh pod that serves; those of the trials are gone.
    assert made.replicasets() == studied.replicasets
    (pod,) = made.engine.pods()
    assert pod["metadata"]["name"] not in studied.pods
    assert any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])


def test_doctor_finds_it_and_nothing_wrong(studied: Studied, engine: Bench) -> None:
    said = studied.tuner.run("doctor", "-n", engine.namespace).succeeded()
    assert engine.engine.name in said.out


def test_the_export_applied_with_kubectl_runs_what_was_measured(studied: Studied, engine: Bench) -> None:
    patch = Path(studied.tuner.folder / "winner.yaml")
    patch.write_text(studied.command("export", "-o", "strategic-merge").succeeded().out)
    engine.engine.kubectl("patch", engine.engine.what, "--patch-file", str(patch))
    engine.engine.wait_until_ready()
    assert_runs(engine, winner_of(studied))


def test_apply_gives_the_deployment_the_winner_and_nothing_else(studied: Studied, engine: Bench) -> None:
    said = studied.command("apply", "--yes").succeeded()
    assert f"-{BASELINE_FLAG}" in said.out
    assert f"+--max-num-seqs={winner_of(studied)}" in said.out
    assert "runs the winner" in said.out
    assert_runs(engine, winner_of(studied))
    now = engine.engine.get()
    container(now)["args"] = container(engine.original)["args"]
    assert now["spec"] == engine.original["spec"]
    assert ORIGINAL not in now["metadata"].get("annotations", {})
    assert engine.leases() == []


def test_a_winner_that_was_applied_is_taken_back_to_the_letter(studied: Studied, engine: Bench) -> None:
    revision = running(engine)
    studied.command("apply", "--yes").succeeded()
    assert running(engine) != revision
    said = studied.command("apply", "--undo", "--yes").succeeded()
    assert f"+{BASELINE_FLAG}" in said.out
    assert f"---max-num-seqs={winner_of(studied)}" in said.out
    assert_runs(engine, BASELINE_SEQS)
    now = engine.engine.get()
    assert now["spec"] == engine.original["spec"]
    assert ORIGINAL not in now["metadata"].get("annotations", {})
    assert running(engine) == revision  # no third one that is like it
    assert engine.leases() == []
    again = studied.command("apply", "--undo", "--yes").succeeded()
    assert again.out == f"{engine.engine.name} runs these settings already\n"


def test_an_undo_that_is_killed_can_be_restored_to_the_winner(studied: Studied, engine: Bench, tuner: Tuner) -> None:
    studied.command("apply", "--yes").succeeded()
    options = ("--storage", storage(studied.tuner), "--undo", "--yes")
    assert studied.tuner.run("apply", *options, kill=Point.parse("after PATCH deployments start 1")).killed
    engine.restore(tuner).succeeded()
    engine.engine.wait_until_ready(60)
    assert_runs(engine, winner_of(studied))
    assert engine.leases() == []


def test_an_apply_that_does_not_start_is_undone(studied: Studied, engine: Bench) -> None:
    with doctored(studied, gpu_memory_utilization=0.2):
        said = studied.command("apply", "--yes")
    assert said.code == 1, said
    assert "the change was undone" in said.err
    assert "gpu-memory-utilization" in said.err or "memory" in said.err  # the engine's own words
    engine.assert_as_it_was()
    assert engine.leases() == []
    engine.engine.wait_until_ready(60)


def test_an_apply_that_is_interrupted_is_undone(studied: Studied, engine: Bench) -> None:
    said = studied.tuner.run(
        *("apply", "--storage", storage(studied.tuner), "--yes"),
        kill=Point("after", "PATCH deployments start"),
        by=signal.SIGINT,
    )
    assert said.code == 130, said
    engine.assert_as_it_was()
    assert engine.leases() == []


def test_an_apply_that_is_killed_can_be_restored(studied: Studied, engine: Bench, tuner: Tuner) -> None:
    options = ("--storage", storage(studied.tuner), "--yes")
    assert studied.tuner.run("apply", *options, kill=Point.parse("after PATCH deployments start 1")).killed
    engine.restore(tuner).succeeded()
    engine.assert_as_it_was()
    assert engine.leases() == []


def test_an_apply_that_is_killed_once_its_winner_was_seen_to_run_is_finished(
    studied: Studied, engine: Bench, tuner: Tuner
) -> None:
    options = ("--storage", storage(studied.tuner), "--yes")
    assert studied.tuner.run("apply", *options, kill=Point.parse("before PATCH deployments ownership 1")).killed
    assert "the winner that was applied stays" in engine.restore(tuner).succeeded().out
    now = engine.engine.get()
    assert f"--max-num-seqs={WINNER_SEQS}" in container(now)["args"]
    container(now)["args"] = container(engine.original)["args"]
    assert now["spec"] == engine.original["spec"]
    assert engine.engine.kubectl("get", "deployments", "-l", "tuner.dev/original", "-o", "name") == ""
    assert engine.leases() == []


@pytest.mark.parametrize(
    ("number", "point"),
    [
        (signal.SIGINT, "after PATCH deployments start 1"),  # while the engine starts
        (signal.SIGTERM, "after commit enter_phase probing 1"),  # under load
        (signal.SIGHUP, "before PATCH deployments template 1"),  # at the end, while everything is put back already
        (signal.SIGINT, "after PATCH deployments template 1"),
        (signal.SIGINT, "before PATCH deployments ownership 1"),
    ],
)
def test_a_signal_ends_a_study_and_everything_is_put_back(
    engine: Bench, tuner: Tuner, number: signal.Signals, point: str
) -> None:
    said = engine.start(tuner, *BASELINE_ALONE, kill=Point.parse(point), by=number)
    assert said.code == 128 + number, said
    assert "everything was put back" in said.err
    assert "Traceback" not in said.err
    engine.assert_as_it_was()
    assert engine.leases() == []


def test_without_anybody_to_answer_nothing_is_begun(engine: Bench, tuner: Tuner) -> None:
    arguments = [one for one in engine.arguments(tuner, *BASELINE_ALONE) if one != "--yes"]
    said = tuner.run(*arguments)
    assert said.code == 2
    assert "--yes" in said.err
    assert not [point for point in said.points if point.what.startswith(("PATCH", "POST leases", "commit create"))]
    engine.assert_as_it_was()


BASELINE_FLAG = f"--max-num-seqs={BASELINE_SEQS}"


def winner_of(studied: Studied) -> int:
    """The number of sequences that the study found."""
    report = json.loads(studied.command("show", "-o", "json").succeeded().out)
    return int(report["result"]["finalist"]["max_num_seqs"])


def running(engine: Bench) -> str:
    """The name of the ReplicaSet that has the engine's pod."""
    found = engine.engine.kubectl.json("get", "replicasets")["items"]
    (name,) = [one["metadata"]["name"] for one in found if one["spec"]["replicas"]]
    return str(name)


def assert_runs(engine: Bench, seqs: int) -> None:
    """Fail unless the Deployment asks for this number of sequences and its engine says that it runs them."""
    before, now = container(engine.original)["args"], container(engine.engine.get())["args"]
    assert now == [f"--max-num-seqs={seqs}" if item == BASELINE_FLAG else item for item in before]
    assert f"'max_num_seqs': {seqs}" in engine.engine.log()


class doctored:  # noqa: N801 - reads as a sentence where it is used
    """The study's winner with other settings, as if a cluster had changed since: to be put back on leaving."""

    def __init__(self, studied: Studied, **settings: float) -> None:
        self._path, self._settings = studied.tuner.folder / "tuner.db", settings
        self._kept: Document = {}

    def __enter__(self) -> None:
        self._kept = self._read()
        self._write({**self._kept, "finalist": {**self._kept["finalist"], **self._settings}})

    def __exit__(self, *_: object) -> None:
        self._write(self._kept)

    def _read(self) -> Document:
        with sqlite3.connect(self._path) as database:
            (text,) = database.execute("SELECT result FROM tuner_studies").fetchone()
        return dict(json.loads(text))

    def _write(self, result: Document) -> None:
        with sqlite3.connect(self._path) as database:
            database.execute("UPDATE tuner_studies SET result = ?", (json.dumps(result),))
