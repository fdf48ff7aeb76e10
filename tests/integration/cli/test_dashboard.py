"""`tuner dashboard` as a process, and what it refuses before it is one."""

from __future__ import annotations

import signal
import socket
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.support.command_line import call, environment
from tests.support.copies import copy_of
from tests.support.dashboard import serving
from tuner.store import Store, StudyState


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "0.0.0.0"), "TUNER_DASHBOARD_TOKEN"),
        (("--allow", "everything"), "allowed: read, review, apply"),
        (("--demo", "--storage", "sqlite:///x.db"), "--storage"),
        (("--proxy", "10.0.0.1"), "--user-header"),
        (("--user-header", "X-User", "--proxy", "nonsense"), "allowed: an address or a network"),
        (("--user-header", "X-User", "--proxy", "10.0.0.1"), "--name"),
        (("--storage", "sqlite:////nowhere/x.db"), "there is no database"),
    ],
)
@pytest.mark.usefixtures("studied")
def test_what_can_not_be_is_refused_in_words(arguments: tuple[str, ...], said: str) -> None:
    refused = call("dashboard", *arguments)
    assert refused.code == 2
    assert said in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.usefixtures("studied")
def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = call("dashboard", "--port", str(port))
    assert refused.code == 2
    assert f"--port {port}: can't listen there" in refused.err


def test_the_recorded_study_is_there_for_whoever_wants_to_look_around(tmp_path: Path) -> None:
    with serving("--demo", variables=environment(tmp_path)) as served:
        (study,) = httpx.get(f"{served.url}/api/v1/studies").json()
        assert study["conclusion"] == "better"
        assert study["by"] == "demo"
        assert study["summary"] in httpx.get(f"{served.url}/studies/{study['id']}").text


def test_the_recorded_study_stands_before_whatever_database_is_usual_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    usual = {**environment(tmp_path), "TUNER_STORAGE": "sqlite:////nowhere/x.db", "TMPDIR": str(folder)}
    with serving("--demo", variables=usual) as served:
        assert list(folder.iterdir())
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(timeout=15) == 128 + signal.SIGTERM
    assert not list(folder.iterdir())


def test_the_token_that_it_prints_opens_what_it_allows(small: tuple[str, object], tmp_path: Path) -> None:
    copy = copy_of(small[0], tmp_path / "copy.db")
    with serving("--allow", "review", "--storage", copy, variables=environment(tmp_path)) as served:
        token, url = served.line().split()[-1], served.url
        decision = {"decision": "rejected", "comment": "not today"}
        assert httpx.post(f"{url}/api/v1/studies/1/reviews", json=decision).status_code == 401
        signed = {"Authorization": f"Bearer {token}"}
        assert httpx.post(f"{url}/api/v1/studies/1/reviews", json=decision, headers=signed).status_code == 201


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_peace_though_somebody_watches_a_study_that_runs(
    small: tuple[str, object], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    copy, now = copy_of(small[0], tmp_path / "copy.db"), datetime.now(UTC)
    with Store.open(copy) as store:
        first = store.studies()[0]
        study = store.create_study(name="runs", spec=first.spec, target=first.target, info=first.info, now=now)
        store.claims.take(study.id, "elsewhere:1:x", now, 3600)
        store.set_state(study.id, StudyState.SEARCHING, "", now, by="elsewhere:1:x")
    with (
        serving("--storage", copy, variables=environment(tmp_path)) as served,
        httpx.stream("GET", f"{served.url}/studies/{study.id}/live") as watched,
    ):
        told = watched.iter_text()
        assert "searching" in next(told)
        served.process.send_signal(number)
        assert "over" not in "".join(told)  # it asks again, and goes on after a restart
        assert served.process.wait(timeout=15) == code
        assert served.complaints == ""
