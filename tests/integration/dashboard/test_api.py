"""The API has what `-o json` has, under a description that holds."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.command_line import call


async def _get(client: httpx.AsyncClient, path: str) -> Any:
    said = await client.get(path)
    assert said.status_code == 200, said.text
    return said.json()


async def test_the_same_data_as_the_command_line(reading: httpx.AsyncClient, database: str) -> None:
    shown = json.loads(call("show", "small", "--storage", database, "-o", "json").out)
    (listed,) = json.loads(call("studies", "--storage", database, "-o", "json").out)
    (overview,) = await _get(reading, "/api/v1/studies")
    assert {name: overview[name] for name in listed} == listed
    study = await _get(reading, "/api/v1/studies/1")
    for name in shown.keys() - {"trials"}:
        assert study[name] == shown[name]
    for short, full in zip(study["trials"], shown["trials"], strict=True):
        assert {name: short[name] for name in full.keys() - {"levels"}} == {
            name: full[name] for name in full.keys() - {"levels"}
        }
        assert len(short["levels"]) == len(full["levels"])
        assert await _get(reading, f"/api/v1/studies/1/trials/{full['number']}") == full


@pytest.mark.parametrize("path", ["/api/v1/studies/2", "/api/v1/studies/1/trials/77", "/api/v1/studies/2/reviews"])
async def test_what_is_not_there_is_404_with_a_reason(reading: httpx.AsyncClient, path: str) -> None:
    said = await reading.get(path)
    assert said.status_code == 404
    assert said.json()["detail"]


async def test_the_description_names_every_path(reading: httpx.AsyncClient) -> None:
    described = await _get(reading, "/api/openapi.json")
    assert set(described["paths"]) == {
        "/api/v1/studies",
        "/api/v1/studies/{study_id}",
        "/api/v1/studies/{study_id}/trials/{number}",
        "/api/v1/studies/{study_id}/reviews",
    }
