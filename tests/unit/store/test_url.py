"""Which storage URLs are taken, and that no message shows a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.core.errors import InvalidInput
from tuner.store.url import masked, parse_url


def test_the_path_of_a_file_is_made_absolute_so_that_every_process_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_url("sqlite:///a/b.db").database == str(tmp_path / "a" / "b.db")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tuner.db",
        "/var/tuner.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://host/a.db",
        "sqlite:///a.db?mode=ro",
        "mysql://u:p@h/d",
        "postgres://u:p@h/d",
        "postgresql+asyncpg://h/d",
        "postgresql://h:port/d",
        "sqlite+aiosqlite:///a.db",
        "☃",
    ],
)
def test_other_urls_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(InvalidInput, match="allowed: sqlite:///PATH"):
        parse_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:s3cret@h/d",
        "postgresql://h/d?user=me&password=s3cret&sslmode=require",
        "postgres://me:s3cret@h:port/d",
        "mysql://me:s3cret@h/d",
        "x://me:s3cret@h",
    ],
)
def test_a_password_is_hidden(text: str) -> None:
    assert "s3cret" not in masked(text)


def test_a_url_that_is_refused_shows_no_password_either() -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_url("mysql://me:s3cret@h/d")
    assert "s3cret" not in str(refusal.value)
    assert "mysql://me:***@h/d" in str(refusal.value)


def test_a_brace_in_a_password_reaches_optuna_escaped() -> None:
    url = parse_url("postgresql://me:a%7Bb%7D@h/d")
    assert url.password == "a{b}"
    assert "{" not in url.render_as_string(hide_password=False)
