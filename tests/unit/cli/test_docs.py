"""The documentation speaks of what there is, and of all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.command_line import call
from tuner.cli.main import _COMMANDS
from tuner.core.cause import Cause

ROOT = Path(__file__).parents[3]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))]
# Options of others that our pages speak of: the engine's, kubectl's, the stand-in's own.
_OTHERS = re.compile(
    r"--(sim(-\w+)*|max-\w[\w-]*|gpu-memory-\w+|model|port|kv-cache-\w[\w-]*|swap-space|enable-[\w-]+|type|patch-file"
    r"|show-managed-fields|rm|restart|image|overrides|host|speculative-config|help|version|target|group|server-side|field-manager|force-conflicts)$"
)


def _headings(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not heading or heading in _headings(target), link


def test_every_cause_has_a_section_of_its_own() -> None:
    assert {cause.value for cause in Cause} <= _headings(ROOT / "docs" / "troubleshooting.md")


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert all(f"({page.name})" in index for page in (ROOT / "docs").glob("*.md") if page.name != "README.md")


def test_every_command_is_documented_and_every_option_named_exists() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    assert all(f"`{name}`" in text for name in _COMMANDS)
    helps = [call("--help"), *(call(name, "--help") for name in _COMMANDS if name != "engine-sim")]
    known = set(re.findall(r"--[a-z][a-z-]+", " ".join(said.out for said in helps)))
    for page in PAGES:
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", page.read_text()))
        unknown = {option for option in named - known if not _OTHERS.match(option)}
        if page.name in ("cli.md", "probe.md", "kubernetes.md", "troubleshooting.md", "spec.md", "README.md"):
            assert unknown == set(), page.name
