"""The fields we change: a patch and its reverse, snapshots, starts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.apiserver import merged
from tests.support.engines import engine
from tuner.core.errors import Refused
from tuner.core.knob import Candidate
from tuner.engines.vllm import VLLM
from tuner.targets.kubernetes import changes, fields
from tuner.targets.kubernetes.differences import diff
from tuner.targets.kubernetes.fields import ORIGINAL
from tuner.targets.kubernetes.restore import foreign
from tuner.targets.kubernetes.snapshot import Snapshot, stored

Object = dict[str, Any]
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}


def deployment(**spec: Any) -> Object:
    body = engine(port=8000)
    body["spec"] |= {"replicas": 1, "strategy": ROLLING, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}
    body["spec"] |= spec
    return body


WORDS = st.lists(st.sampled_from(["--max-num-seqs=8", "--a", "b", "--port", "8000"]), max_size=5)


@given(st.one_of(st.none(), WORDS), st.one_of(st.none(), WORDS), st.booleans(), st.sampled_from(["1", "8"]))
def test_a_patch_back_undoes_any_patch(
    args: list[str] | None, command: list[str] | None, recreate: bool, gpus: str
) -> None:
    before = deployment()
    values: fields.Fields = {"args": args, "command": command, fields.START: "mark", fields.DEADLINE: 900}
    values[fields.GPUS] = {"limits": gpus, "requests": None}
    values[fields.STRATEGY] = {"type": "Recreate"} if recreate else ROLLING
    original = fields.read(before, "engine", values)
    changed = merged(before, fields.patch("engine", values), strategic=True)
    assert fields.read(changed, "engine", values) == {**values, "args": args or None, "command": command or None}
    assert merged(changed, fields.patch("engine", original), strategic=True) == before


def test_putting_fields_into_an_object_is_what_the_server_does() -> None:
    values = changes.for_start(deployment(), "engine", VLLM.syntax(), [], mark="m", deadline_s=60)
    local = copy.deepcopy(deployment())
    fields.put(local, "engine", values)
    assert local == merged(deployment(), fields.patch("engine", values), strategic=True)


def test_putting_the_original_back_leaves_no_empty_remains() -> None:
    before = deployment()
    values = changes.for_start(before, "engine", VLLM.syntax(), [], mark="m", deadline_s=60)
    values[fields.GPUS] = {"limits": "2", "requests": None}
    body = copy.deepcopy(before)
    fields.put(body, "engine", values)
    fields.put(body, "engine", fields.read(before, "engine", values))
    assert body == before


def test_a_gone_container_is_refused() -> None:
    with pytest.raises(Refused, match="no container 'engine'"):
        fields.read({"spec": {"template": {"spec": {"containers": []}}}}, "engine")


def test_a_list_that_loses_its_last_item_is_taken_out() -> None:
    body = deployment()
    body["spec"]["template"]["spec"]["containers"][0]["args"] = ["--max-num-seqs=64"]
    edits = VLLM.spell(Candidate(), Candidate.of(max_num_seqs=64))
    values = changes.for_start(body, "engine", VLLM.syntax(), edits, mark="m", deadline_s=60)
    assert values["args"] is None
    changed = merged(body, fields.patch("engine", values), strategic=True)
    assert fields.read(changed, "engine", values) == values


def test_a_start_changes_only_the_flags_asked_for() -> None:
    edits = VLLM.spell(Candidate.of(max_num_seqs=8), Candidate.of(max_num_seqs=64))
    values = changes.for_start(deployment(), "engine", VLLM.syntax(), edits, mark="m", deadline_s=900.5)
    assert values["args"] == ["--max-num-seqs=8", "--port", "8000"]
    assert values["command"] == deployment()["spec"]["template"]["spec"]["containers"][0]["command"]
    assert values[fields.DEADLINE] == 1500
    assert fields.HISTORY not in values


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (ROLLING, True),
        ({"type": "Recreate"}, False),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}, False),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, True),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "100%"}}, False),
    ],
)
def test_a_rolling_update_that_needs_a_second_gpu_is_known_beforehand(strategy: Object, expected: bool) -> None:
    assert changes.deadlocks(deployment(strategy=strategy), "engine") is expected


def test_without_a_gpu_a_rolling_update_is_left_alone() -> None:
    body = deployment()
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1Gi"}}
    assert not changes.deadlocks(body, "engine")


def test_a_gpu_limit_that_does_not_divide_is_refused() -> None:
    baseline, wanted = Candidate.of(tensor_parallel_size=4), Candidate.of(tensor_parallel_size=2)
    with pytest.raises(Refused, match="1 GPUs for 4"):
        changes.gpus_for(deployment(), "engine", baseline, wanted)


def test_a_limit_that_can_not_be_scaled_along_is_refused_and_one_that_need_not_be_is_left() -> None:
    body = deployment()
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"amd.com/gpu": "1"}}
    one, two = Candidate.of(tensor_parallel_size=1), Candidate.of(tensor_parallel_size=2)
    with pytest.raises(Refused, match=r"only limits of nvidia\.com/gpu"):
        changes.gpus_for(body, "engine", Candidate(), two)
    assert changes.gpus_for(body, "engine", Candidate(), one) is None


SNAPSHOT = Snapshot(
    "i", "s", "2026-01-01T00:00:00Z", "engine", {"args": ["a"]}, {"args": ["b"]}, ({"manager": "helm"},)
)


def carrying(text: str) -> Object:
    body = deployment()
    body["metadata"] |= {"annotations": {ORIGINAL: text}, "labels": {ORIGINAL: "i"}}
    return body


def test_a_snapshot_is_read_back_as_written() -> None:
    assert stored(carrying(SNAPSHOT.dumps())) == SNAPSHOT
    assert stored(deployment()) is None


@pytest.mark.parametrize("labels", [{}, {ORIGINAL: "another"}])
def test_an_original_whose_id_is_not_in_force_is_an_old_copy(labels: dict[str, str]) -> None:
    body = carrying(SNAPSHOT.dumps())
    body["metadata"]["labels"] = labels
    assert stored(body) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 99, "study": "s"}'])
def test_an_annotation_that_can_not_be_read_is_refused_rather_than_guessed(text: str) -> None:
    with pytest.raises(Refused, match=ORIGINAL):
        stored(carrying(text))


@pytest.mark.parametrize(
    ("live", "others"), [(["a"], ()), (["b"], ()), (["c"], ("args",)), (["a", "b"], ("args",)), ([], ("args",))]
)
def test_only_a_value_that_is_neither_original_nor_ours_is_foreign(live: list[str], others: tuple[str, ...]) -> None:
    body = deployment()
    body["spec"]["template"]["spec"]["containers"][0]["args"] = live
    assert foreign(body, SNAPSHOT) == others
    assert foreign(body, SNAPSHOT.keeping(["args"])) == ()


def test_a_diff_shows_one_item_per_line_and_no_secrets() -> None:
    before = [
        "--api-key",
        "sk-1",
        "sk-3",
        "--hf-token=t1",
        "--ssl-keyfile-password=p1",
        "--api-k=k1",
        "--max-num-seqs=1",
    ]
    after = [
        "--api-key",
        "sk-2",
        "sk-4",
        "--hf-token=t2",
        "--ssl-keyfile-password=p2",
        "--api-k=k2",
        "--max-num-seqs=2",
    ]
    text = diff("args", before, after, "now", "then")
    assert "---max-num-seqs=1" in text
    assert "+--max-num-seqs=2" in text
    for secret in ("sk-1", "sk-2", "sk-3", "sk-4", "t1", "t2", "p1", "p2", "k1", "k2"):
        assert secret not in text


def test_what_looks_like_a_secret_is_not_shown_whatever_its_flag_is_called() -> None:
    beside = [
        "--otlp-traces-endpoint=https://tuner:S3cretPassw0rd@otel.example.com",
        '--additional-config={"api_key": "sk-live-0123456789abcdef"}',
    ]
    text = diff("args", ["--max-num-seqs=1", *beside], ["--max-num-seqs=2", *beside], "now", "then")
    assert "+--max-num-seqs=2" in text
    assert "otel.example.com" in text
    assert "S3cret" not in text
    assert "sk-live" not in text


@pytest.mark.parametrize("flag", ["--max-num-batched-tokens", "--ssl-keyfile", "--tokenizer", "--skip-tokenizer-init"])
def test_a_flag_with_a_word_of_secrets_in_its_name_is_shown(flag: str) -> None:
    text = diff("args", [f"{flag}=1", flag, "3"], [f"{flag}=2", flag, "4"], "now", "then")
    assert {f"-{flag}=1", f"+{flag}=2", "-3", "+4"} <= set(text.splitlines())
