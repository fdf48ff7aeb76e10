"""A real browser to look at pages with: Chromium, driven by Playwright.

TUNER_CHROMIUM names its program; else `chromium` of the path is taken. Without one, tests are skipped, unless
TUNER_BROWSER_REQUIRED is set.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

TOKEN = "an-example-of-a-token"
#: Opens a page in a browser of its own: `opened(width, expected=[...], color_scheme=...)`.
Opened = Callable[..., AbstractContextManager[Page]]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; skips where there is none."""
    program = os.environ.get("TUNER_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        if os.environ.get("TUNER_BROWSER_REQUIRED"):
            pytest.fail("TUNER_BROWSER_REQUIRED is set, and there is no Chromium (TUNER_CHROMIUM, or on the path)")
        pytest.skip("no Chromium: set TUNER_CHROMIUM, or put chromium on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def opener(browser: Browser) -> Opened:
    """Opens pages; whatever one complains about, but what is `expected`, fails the test."""

    @contextmanager
    def open_(width: int = 1440, expected: tuple[str, ...] = (), **more: Any) -> Iterator[Page]:
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, locale="en-GB", timezone_id="UTC", **more)  # type: ignore[arg-type]
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda one: complaints.append(one.text) if one.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.set_default_timeout(10_000)
        try:
            try:
                yield page
            except AssertionError as error:
                error.add_note(f"the browser complained: {complaints}")
                raise
            # Chromium advises how a test that looks at pixels could be quicker.
            known = (*expected, "willReadFrequently")
            found = [one for one in complaints if not any(text in one for text in known)]
            assert not found, found
        finally:
            context.close()

    return open_
