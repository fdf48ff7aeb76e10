"""A winner on its way to the live Deployment, and back: what is shown, what is refused, and what is left behind."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import ApiServer, until
from tests.support.bench import Bench
from tests.support.command_line import Said, command, environment
from tests.support.engines import engine
from tests.support.winners import WINNER, winner
from tuner.core.errors import InvalidInput, Refused, TunerError
from tuner.store import Store
from tuner.study.adoption import Adoption
from tuner.study.cluster import Cluster
from tuner.study.reversal import Reversal
from tuner.study.winner import Winner
from tuner.targets.kubernetes.snapshot import stored

# One that takes a flag away, which stood in the midst of others.
SHORTER = winner({"max_num_seqs": 64, "max_num_batched_tokens": 4096}, {"max_num_seqs": 128})
LONG = ("--max-num-batched-tokens=4096", "--api-key", "sk-secret", "--enforce-eager")


@pytest.fixture
def cluster(server: ApiServer) -> Cluster:
    return Cluster(server.kubeconfig)


async def applied(which: Winner, cluster: Cluster) -> None:
    async with Adoption.open(which, cluster) as adoption:
        await adoption.apply(10.0, lambda _: None)


def set_args(bench: Bench, args: list[str]) -> None:
    bench.change({"spec": {"template": {"spec": {"containers": [{"name": "engine", "args": args}]}}}})


def forget_history(bench: Bench) -> None:
    """As where revisionHistoryLimit is 0."""
    objects = bench.server.objects
    for replicaset in bench.server.all("replicasets"):
        if not replicaset["spec"]["replicas"]:
            del objects["replicasets", "ns", replicaset["metadata"]["name"]]


async def test_a_winner_is_shown_applied_and_followed(bench: Bench, cluster: Cluster) -> None:
    said: list[str] = []
    async with Adoption.open(WINNER, cluster) as adoption:
        diff = await adoption.preview() or ""
        assert {"---max-num-seqs=64", "+--max-num-seqs=128"} <= set(diff.splitlines())
        assert bench.args[0] == "--max-num-seqs=64"
        assert await adoption.apply(10.0, said.append) > 0
        assert await adoption.preview() is None
        with pytest.raises(Refused, match="llm runs these settings already"):
            await adoption.apply(10.0, said.append)
    assert said[0] == "changing the Deployment"
    assert bench.args[0] == "--max-num-seqs=128"
    assert not bench.server.all("leases")


@pytest.mark.parametrize("shown", [True, False])
async def test_a_deployment_that_was_changed_since_gets_no_winner(bench: Bench, cluster: Cluster, shown: bool) -> None:
    set_args(bench, [*bench.args, "--block-size=32"])
    before = bench.picture()
    async with Adoption.open(WINNER, cluster) as adoption:
        with pytest.raises(Refused, match="was changed since the study"):
            await (adoption.preview() if shown else adoption.apply(10.0, lambda _: None))
    assert bench.picture() == before


async def test_a_deployment_whose_other_flags_were_changed_since_gets_no_winner(bench: Bench, cluster: Cluster) -> None:
    before = bench.picture()
    for fixed, named in (({"max_model_len": 4096}, "max_model_len"), ({"dtype": "half"}, "dtype")):
        async with Adoption.open(replace(WINNER, fixed=fixed), cluster) as adoption:
            with pytest.raises(Refused, match=f"was changed since the study in {named}, so the result may not hold"):
                await adoption.preview()
    assert bench.picture() == before
    async with Adoption.open(replace(WINNER, fixed={}), cluster) as adoption:
        assert await adoption.preview()


async def test_a_winner_that_does_not_start_is_undone_and_says_so(bench: Bench, cluster: Cluster) -> None:
    before = bench.picture()
    fatal = winner({"max_num_seqs": 64}, {"max_num_seqs": 128, "max_num_batched_tokens": 2003})
    with pytest.raises(TunerError, match=r"(?s)CUDA out of memory.*the change was undone: llm runs what it ran before"):
        await applied(fatal, cluster)
    assert bench.picture() == before
    assert not bench.server.all("leases")


@pytest.mark.parametrize("kind", [Adoption, Reversal])
async def test_a_simulated_winner_has_nothing_to_go_to(tmp_path: Path, kind: type[Adoption]) -> None:
    nowhere = Cluster(tmp_path / "none")
    with pytest.raises(InvalidInput, match="its target was simulated"):
        async with kind.open(winner({}, {}, namespace=""), nowhere):
            pass


async def test_what_ran_before_a_winner_comes_back_to_the_letter(server: ApiServer, cluster: Cluster) -> None:
    bench = Bench(server)
    bench.deploy(engine(args=LONG))
    await bench.ready()
    before, replicasets = copy.deepcopy(bench.deployment["spec"]), server.all("replicasets")
    await applied(SHORTER, cluster)
    assert "--max-num-batched-tokens=4096" not in bench.args
    async with Reversal.open(SHORTER, cluster) as reversal:
        diff = await reversal.preview() or ""
        assert not reversal.caution
        assert {"+--max-num-batched-tokens=4096", "+--max-num-seqs=64", "---max-num-seqs=128"} <= set(diff.splitlines())
        assert "sk-secret" not in diff
        await reversal.apply(10.0, lambda _: None)
    assert bench.deployment["spec"] == before
    # The revision of before runs again, rather than a third one that is like it.
    (runs,) = [one for one in server.all("replicasets") if one["spec"]["replicas"]]
    assert runs["metadata"]["uid"] == replicasets[0]["metadata"]["uid"]
    assert stored(bench.deployment) is None
    assert not server.all("leases")
    assert not bench.copies


async def test_a_winner_that_was_applied_with_kubectl_is_undone_as_well(bench: Bench, cluster: Cluster) -> None:
    before = copy.deepcopy(bench.deployment["spec"])
    set_args(bench, ["--max-num-seqs=128", *bench.args[1:]])
    await bench.ready()
    async with Reversal.open(WINNER, cluster) as reversal:
        await reversal.apply(10.0, lambda _: None)
        assert not reversal.caution
    assert bench.deployment["spec"] == before


async def test_without_the_revision_of_before_the_flags_are_set_back(server: ApiServer, cluster: Cluster) -> None:
    bench = Bench(server)
    bench.deploy(engine(args=LONG))
    await bench.ready()
    await applied(SHORTER, cluster)
    forget_history(bench)
    async with Reversal.open(SHORTER, cluster) as reversal:
        await reversal.apply(10.0, lambda _: None)
        assert "perhaps in another place" in reversal.caution
    assert bench.args[0] == "--max-num-seqs=64"
    assert bench.args[-2:] == ["--max-num-batched-tokens", "4096"]  # in the style of most others


async def test_what_somebody_added_since_stays_when_a_winner_is_undone(bench: Bench, cluster: Cluster) -> None:
    await applied(WINNER, cluster)
    set_args(bench, [*bench.args, "--enforce-eager"])
    await bench.ready()
    async with Reversal.open(WINNER, cluster) as reversal:
        await reversal.apply(10.0, lambda _: None)
        assert "perhaps in another place" in reversal.caution
    assert bench.args[0] == "--max-num-seqs=64"
    assert bench.args[-1] == "--enforce-eager"


async def test_a_newer_revision_that_can_not_be_read_explains_nothing(bench: Bench, cluster: Cluster) -> None:
    original = bench.args
    set_args(bench, ["--max-num-seqs=many", *original[1:]])
    await until(lambda: len(bench.server.all("replicasets")) == 2)
    (unread,) = [one for one in bench.server.all("replicasets") if "--max-num-seqs=many" in str(one)]
    unread["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "9"
    set_args(bench, original)
    await bench.ready()
    await applied(WINNER, cluster)
    async with Reversal.open(WINNER, cluster) as reversal:
        await reversal.preview()
        assert not reversal.caution


@pytest.mark.parametrize("added", [["--max-num-seqs=256"], ["--max-num-seqs=128", "--block-size=32"]])
async def test_only_the_winner_is_undone(bench: Bench, cluster: Cluster, added: list[str]) -> None:
    set_args(bench, [*added, *bench.args[1:]])
    before = bench.picture()
    named = " ".join(sorted(flag.removeprefix("--").replace("-", "_") for flag in added))
    async with Reversal.open(WINNER, cluster) as reversal:
        with pytest.raises(Refused, match=f"the winner is max_num_seqs=128, and it runs {named} now"):
            await reversal.apply(10.0, lambda _: None)
    assert bench.picture() == before


async def test_what_ran_before_and_runs_again_is_no_change(bench: Bench, cluster: Cluster) -> None:
    before = bench.picture()
    async with Reversal.open(WINNER, cluster) as reversal:
        assert await reversal.preview() is None
    assert bench.picture() == before


async def test_a_way_back_that_does_not_start_leaves_the_winner(server: ApiServer, cluster: Cluster) -> None:
    fatal = winner({"max_num_seqs": 64, "max_num_batched_tokens": 2003}, {"max_num_seqs": 64})
    bench = Bench(server)
    bench.deploy(engine())
    await bench.ready()
    before = bench.picture()
    async with Reversal.open(fatal, cluster) as reversal:
        with pytest.raises(TunerError, match="the change was undone"):
            await reversal.apply(10.0, lambda _: None)
    assert bench.picture() == before
    assert not server.all("leases")


def store_study(url: str) -> None:
    """A finished study of the Deployment, as `tuner start` leaves one."""
    info = {"engine": "vllm", "version": "0.32.0", "baseline": {"max_num_seqs": 64}, "simulated": False}
    result: dict[str, Any] = {
        "conclusion": "better",
        "exportable": True,
        "finalist": {"max_num_seqs": 128},
        "summary": "better by 12.0%",
    }
    with Store.open(url) as store:
        study = store.create_study(name="night", spec={}, target="ns/llm", info=info, now=datetime.now(UTC))
        store.finish(study.id, result, "better", datetime.now(UTC))


async def tuner(home: Path, *arguments: str) -> Said:
    """Run a command as a process of its own: it listens to signals."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        env=environment(home),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 40)
    return Said(process.returncode, out.decode(), err.decode())


async def test_the_command_line_applies_a_winner_and_takes_it_back(
    bench: Bench, cluster: Cluster, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    store_study(url)
    before = copy.deepcopy(bench.deployment["spec"])
    options = ("apply", "night", "--storage", url, "--kubeconfig", str(cluster.kubeconfig))
    asked = await tuner(tmp_path, *options)
    assert (asked.code, bench.deployment["spec"]) == (2, before)
    assert "--yes says that this is what you want" in asked.err
    said = await tuner(tmp_path, *options, "--yes")
    assert said.code == 0, said
    assert "+--max-num-seqs=128" in said.out
    assert "llm runs the winner of study night after" in said.out
    assert bench.args[0] == "--max-num-seqs=128"
    again = await tuner(tmp_path, *options, "--yes")
    assert (again.code, again.out) == (0, "llm runs these settings already\n")
    back = await tuner(tmp_path, *options, "--undo", "--yes")
    assert back.code == 0, back
    assert "+--max-num-seqs=64" in back.out
    assert "llm runs what it ran before the winner of study night after" in back.out
    assert bench.deployment["spec"] == before
