"""Fields go back to the managers that owned them, and nothing else does."""

from __future__ import annotations

from typing import Any

from tuner.targets.kubernetes.fields import owned_paths
from tuner.targets.kubernetes.ownership import give_back

Object = dict[str, Any]
ENGINE = 'k:{"name":"engine"}'
PATHS = owned_paths("engine", ["args", "strategy"])


def entry(manager: str, *leaves: str, subresource: str | None = None, time: str = "1") -> Object:
    """An entry that owns "args" and "image" of the engine, and other fields of the spec by name."""
    fields: Object = {}
    for leaf in leaves:
        node = fields.setdefault("f:spec", {})
        if leaf in ("args", "image"):
            for part in ("f:template", "f:spec", "f:containers", ENGINE):
                node = node.setdefault(part, {})
        node[f"f:{leaf}"] = {}
    found = {"manager": manager, "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": fields, "time": time}
    return {**found, "subresource": subresource} if subresource else found


def test_owners_are_exactly_as_saved_where_only_we_wrote() -> None:
    saved = [entry("helm", "args", "image", "replicas")]
    status = entry("kube-controller-manager", subresource="status", time="9")
    today = [entry("helm", "image", "replicas", time="1"), entry("tuner", "args", "strategy", time="5"), status]
    assert give_back(saved, today, PATHS) == [*saved, status]


def test_a_manager_that_owned_only_what_we_took_comes_back() -> None:
    saved = [entry("helm", "args")]
    assert give_back(saved, [entry("tuner", "args")], PATHS) == saved


def test_a_field_that_a_manager_dropped_meanwhile_is_not_given_back_to_it() -> None:
    saved = [entry("helm", "args", "replicas")]
    today = [entry("helm", time="7"), entry("tuner", "args"), entry("kubectl-scale", "replicas")]
    owners = {e["manager"]: e["fieldsV1"] for e in give_back(saved, today, PATHS)}
    assert owners["helm"] == entry("helm", "args")["fieldsV1"]
    assert owners["kubectl-scale"] == entry("", "replicas")["fieldsV1"]
    assert "tuner" not in owners


def test_what_an_earlier_result_made_ours_stays_ours() -> None:
    saved = [entry("helm", "image"), entry("tuner", "args")]
    today = [entry("helm", "image"), entry("tuner", "args", "strategy", time="5")]
    assert give_back(saved, today, PATHS) == saved


def test_fields_that_are_kept_stay_ours_and_the_rest_goes_back() -> None:
    saved = [entry("helm", "args", "strategy")]
    today = [entry("helm"), entry("tuner", "args", "strategy")]
    owners = {
        e["manager"]: e["fieldsV1"] for e in give_back(saved, today, owned_paths("engine", ["strategy"]), PATHS[:1])
    }
    assert owners == {"helm": entry("", "strategy")["fieldsV1"], "tuner": entry("", "args")["fieldsV1"]}
