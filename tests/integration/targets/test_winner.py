"""A study's winner against the live Deployment: in every format, with no more of it than changes."""

from __future__ import annotations

import pytest
import yaml

from tests.support.apiserver import ApiServer
from tests.support.engines import engine
from tests.support.winners import WINNER
from tuner.core.errors import Refused
from tuner.export import FORMATS
from tuner.study.winner import on_deployment
from tuner.targets.kubernetes.client import Client


async def test_a_manifest_has_the_deployments_name_its_selector_and_the_new_flags(
    server: ApiServer, client: Client
) -> None:
    body = engine(port=8000)
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "HF_TOKEN", "value": "hf_secret"}]
    server.put("deployments", "ns", body)
    result = await on_deployment(WINNER, client)
    assert yaml.safe_load(FORMATS["yaml"].write(result)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llm", "namespace": "ns"},
        "spec": {
            "selector": body["spec"]["selector"],
            "template": {
                "spec": {"containers": [{"name": "engine", "args": ["--max-num-seqs=128", "--port", "8000"]}]}
            },
        },
    }
    assert all("hf_secret" not in one.write(result) for one in FORMATS.values())


async def test_a_winner_over_other_flags_than_todays_is_refused(server: ApiServer, client: Client) -> None:
    server.put("deployments", "ns", engine(args=("--block-size=32",)))
    with pytest.raises(Refused, match="it ran max_num_seqs=64 then and runs block_size=32 max_num_seqs=64 now"):
        await on_deployment(WINNER, client)
