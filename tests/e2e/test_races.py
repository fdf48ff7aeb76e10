"""Others act at the same time, on a real cluster: nothing of theirs is lost, everything of ours is put back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.support.cluster import Cluster
from tests.e2e.support.command import Point, Ran, Tuner
from tests.e2e.support.deployment import container
from tests.e2e.support.pausing import paused
from tests.e2e.support.standin import BASELINE_ALONE, Bench, bench

pytestmark = pytest.mark.cluster

# Starting it again takes the rest of ten seconds. Longer outages cost minutes: the cluster's own controllers wait twice
# as long before each next try.
OUTAGE_S = 5.0
ORIGINAL = "tuner.dev/original"
CHANGED = "after PATCH deployments start 1"


@pytest.fixture(scope="module")
def shared(cluster: Cluster, engine_sim_image: str) -> Iterator[Bench]:
    """One engine for the whole module."""
    with bench(cluster, engine_sim_image) as made:
        yield made


@pytest.fixture
def engine(shared: Bench) -> Bench:
    """It, as it must be before a test."""
    shared.renew()
    return shared


@pytest.fixture
def other(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Tuner:
    """Somebody else's tuner: another folder, another database."""
    return Tuner(cluster.kubeconfig, tmp_path_factory.mktemp("other"))


def test_a_lost_race_is_run_again_and_both_changes_stand(engine: Bench, tuner: Tuner) -> None:
    """Somebody writes between our read and our write: the API server answers 409, and we look again."""
    with paused(tuner, *engine.arguments(tuner, *BASELINE_ALONE), at="before PATCH deployments start 1") as study:
        engine.engine.kubectl("label", engine.engine.what, "team=blue")
        done = study.finish().succeeded()
    assert passages(done, "PATCH deployments start") >= 2
    assert engine.engine.get()["metadata"]["labels"]["team"] == "blue"
    engine.engine.kubectl("label", engine.engine.what, "team-")
    engine.assert_as_it_was()


@pytest.mark.parametrize("step", ["template", "ownership"])
def test_a_race_lost_while_restoring_is_run_again(engine: Bench, tuner: Tuner, step: str) -> None:
    at = f"before PATCH deployments {step} 1"
    with paused(tuner, *engine.arguments(tuner, *BASELINE_ALONE), at=at) as study:
        engine.engine.kubectl("annotate", engine.engine.what, "owner=blue")
        done = study.finish().succeeded()
    assert passages(done, f"PATCH deployments {step}") >= 2
    assert engine.engine.get()["metadata"]["annotations"]["owner"] == "blue"
    engine.engine.kubectl("annotate", engine.engine.what, "owner-")
    engine.assert_as_it_was()


def test_a_hand_edit_of_our_field_stops_the_study_and_is_not_overwritten(engine: Bench, tuner: Tuner) -> None:
    hand = [item.replace("--max-num-seqs=1", "--max-num-seqs=7") for item in container(engine.original)["args"]]
    with paused(tuner, *engine.arguments(tuner, *BASELINE_ALONE), at=CHANGED) as study:
        engine.engine.kubectl.patch(engine.engine.what, args(hand), "--field-manager=kubectl-edit")
        done = study.finish()
    assert done.code == 4, done
    assert "changed by somebody else" in done.err
    assert "kubectl-edit" in done.out + done.err
    assert "+--max-num-seqs=7" in done.err  # the diff
    assert passages(done, "PATCH deployments start") == 1
    assert container(engine.engine.get())["args"] == hand
    assert ORIGINAL in engine.engine.get()["metadata"]["annotations"]

    refused = engine.restore(tuner)
    assert refused.code == 3
    assert "+--max-num-seqs=7" in refused.err
    assert container(engine.engine.get())["args"] == hand

    engine.restore(tuner, "--keep").succeeded()
    now = engine.engine.get()
    assert container(now)["args"] == hand
    container(now)["args"] = container(engine.original)["args"]
    assert now["spec"] == engine.original["spec"]
    assert ORIGINAL not in now["metadata"].get("annotations", {})


def test_force_puts_the_original_back_over_a_hand_edit(engine: Bench, tuner: Tuner) -> None:
    with paused(tuner, *engine.arguments(tuner, *BASELINE_ALONE), at=CHANGED) as study:
        engine.engine.kubectl.patch(engine.engine.what, args(["--model=other"]), "--field-manager=kubectl-edit")
        assert study.finish().code == 4
    engine.restore(tuner, "--force").succeeded()
    engine.assert_as_it_was()


def test_replicas_changed_by_somebody_stop_the_study_and_are_kept(engine: Bench, tuner: Tuner) -> None:
    with paused(tuner, *engine.arguments(tuner, *BASELINE_ALONE), at=CHANGED) as study:
        engine.engine.kubectl("scale", engine.engine.what, "--replicas=2")
        done = study.finish()
    assert done.code == 1, done
    assert "spec.replicas" in done.err
    now = engine.engine.get()
    assert now["spec"] == {**engine.original["spec"], "replicas": 2}
    assert ORIGINAL not in now["metadata"].get("annotations", {})
    assert engine.leases() == []


def test_a_killed_study_that_somebody_undid_by_hand_is_restored(engine: Bench, tuner: Tuner) -> None:
    """The undo takes our annotation away with the flags, and leaves the strategy as we wrote it."""
    assert engine.start(tuner, *BASELINE_ALONE, kill=Point.parse(CHANGED)).killed
    engine.engine.wait_until_ready(60)
    engine.engine.kubectl("rollout", "undo", engine.engine.what)
    assert ORIGINAL not in engine.engine.get()["metadata"].get("annotations", {})
    assert engine.restore(tuner).succeeded().out.startswith("restored what the study")
    now = engine.engine.get()
    assert now["spec"] == engine.original["spec"]
    assert now["metadata"].get("labels", {}) == engine.original["metadata"].get("labels", {})


@pytest.mark.parametrize("at", ["after POST leases 1", CHANGED])
def test_a_second_tuner_is_refused_and_told_who_holds_it(engine: Bench, tuner: Tuner, other: Tuner, at: str) -> None:
    with paused(tuner, *engine.arguments(tuner, *BASELINE_ALONE), at=at) as study:
        (lease,) = engine.engine.kubectl.json("get", "leases")["items"]
        refused = engine.start(other, *BASELINE_ALONE)
        done = study.finish().succeeded()
    assert refused.code == 3
    assert lease["spec"]["holderIdentity"] in refused.err
    assert passages(refused, "PATCH deployments start") == 0
    assert passages(done, "PATCH deployments start") == 1
    engine.assert_as_it_was()


def test_restoring_a_study_that_still_runs_stops_it(engine: Bench, tuner: Tuner, other: Tuner) -> None:
    with paused(tuner, *engine.arguments(tuner, *BASELINE_ALONE), at=CHANGED) as study:
        engine.restore(other).succeeded()
        done = study.finish()
    assert done.code in (1, 3), done
    assert passages(done, "PATCH deployments start") == 1
    engine.assert_as_it_was()
    assert engine.leases() == []


@pytest.mark.outage
@pytest.mark.parametrize("at", [CHANGED, "before PATCH deployments template 1"])
def test_an_outage_of_the_api_server_is_waited_out(engine: Bench, cluster: Cluster, tuner: Tuner, at: str) -> None:
    """In the middle of a rollout, and while everything is being put back."""
    with paused(tuner, *engine.arguments(tuner, *BASELINE_ALONE), at=at) as study:
        with cluster.outage():
            study.go_on()
            time.sleep(OUTAGE_S)
        done = study.finish(timeout_s=240).succeeded()
    assert "no change" in done.out
    engine.assert_as_it_was()
    assert engine.leases() == []


def args(items: list[str]) -> dict[str, object]:
    """A strategic merge patch that gives the engine these arguments."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "engine", "args": items}]}}}}


def passages(ran: Ran, what: str) -> int:
    """How often a call was sent."""
    return sum(point.what == what and point.when == "before" for point in ran.points)
