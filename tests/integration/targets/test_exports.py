"""All formats of a winner at once: each with its text, or with why it can't be had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.apiserver import ApiServer
from tests.support.engines import engine
from tests.support.winners import WINNER
from tuner.core.errors import InvalidInput, Refused
from tuner.core.knob import Candidate
from tuner.export import FORMATS
from tuner.study.cluster import Cluster
from tuner.study.exports import export, exports
from tuner.targets.kubernetes.client import Client

SIMULATED = replace(WINNER, namespace="", deployment="")


def test_every_format_is_kept_as_something_of_its_own() -> None:
    assert len({one.ending for one in FORMATS.values()}) == len(FORMATS)


async def test_every_format_is_the_one_that_the_command_line_writes(server: ApiServer, client: Client) -> None:
    server.put("deployments", "ns", engine(args=("--api-key", "sk-secret")))
    found = await exports(WINNER, client)
    cluster = Cluster(server.kubeconfig)
    assert {name: one.text for name, one in found.items()} == {
        name: await export(WINNER, name, cluster) for name in FORMATS
    }
    assert not any(one.reason for one in found.values())
    assert {name for name, one in found.items() if one.secret} == {
        name for name, one in found.items() if "sk-secret" in one.text
    }
    assert found["strategic-merge"].secret
    assert "`tuner export night -o strategic-merge`" in found["strategic-merge"].withheld
    assert found["flags"].withheld == ""
    assert (found["flags"].file, found["flags"].format.kind) == ("night-flags.txt", "text/plain")


async def test_what_needs_the_deployment_says_why_it_can_not_be_had(server: ApiServer, client: Client) -> None:
    gone = await exports(WINNER, client)
    server.put("deployments", "ns", engine(args=("--block-size=32",)))
    changed = await exports(WINNER, client)
    for found, why in (
        (gone, "there is no Deployment llm in namespace ns"),
        (changed, "was changed since the study"),
        (await exports(WINNER, None), "no cluster is reached"),
        (await exports(WINNER, None, "the dashboard was started without one"), "was started without one"),
        (await exports(SIMULATED, None), "a simulated target has no Deployment"),
    ):
        assert "--max-num-seqs=128" in found["flags"].text
        for name in ("yaml", "strategic-merge"):
            assert found[name].text == ""
            assert why in found[name].reason


async def test_a_setting_that_its_engine_no_longer_knows_says_so_in_every_format() -> None:
    unknown = replace(SIMULATED, candidate=Candidate.of(no_such_knob=1))
    for one in (await exports(unknown, None)).values():
        assert one.text == ""
    assert "no_such_knob" in (await exports(unknown, None))["flags"].reason


async def test_a_winner_that_runs_already_is_no_patch_and_no_change_of_somebody_else(
    server: ApiServer, client: Client
) -> None:
    body = engine()
    body["spec"]["template"]["spec"]["containers"][0]["args"][0] = "--max-num-seqs=128"
    server.put("deployments", "ns", body)
    off = replace(WINNER, candidate=Candidate.of(max_num_seqs=128, speculative_method="off"))
    for winner in (WINNER, off):
        reason = (await exports(winner, client))["yaml"].reason
        assert reason == "Deployment llm runs the winner of study night already"


async def test_the_command_line_s_single_format_raises_what_stands_in_the_way(server: ApiServer) -> None:
    cluster = Cluster(server.kubeconfig)
    server.put("deployments", "ns", engine(args=("--block-size=32",)))
    with pytest.raises(Refused, match="was changed since the study"):
        await export(WINNER, "yaml", cluster)
    with pytest.raises(InvalidInput, match="-o yaml: a simulated target has no Deployment"):
        await export(SIMULATED, "yaml", cluster)
    assert "--max-num-seqs=128" in await export(SIMULATED, "flags", Cluster(server.kubeconfig.with_name("none")))
