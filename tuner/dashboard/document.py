"""A study as one file: the same page and pictures, with everything they need inside."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256

from markupsafe import Markup

from tuner.dashboard.templating import STATIC, alone
from tuner.dashboard.views.study import StudyView

_SCRIPTS = ("vendor/echarts.common.min.js", "charts.js", "page.js")


def document(view: StudyView) -> str:
    """The file's text: HTML that loads nothing and runs no script but its own."""
    view = replace(view, alone=True)
    style, scripts = _text("style.css"), [_text(name) for name in _SCRIPTS]
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_digest(style)}",
            f"script-src {' '.join(_digest(script) for script in scripts)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return alone(
        "document.html",
        view=view,
        now=datetime.now(UTC),
        policy=policy,
        style=Markup(style),
        scripts=[Markup(one) for one in scripts],
    )


def file_name(text: str) -> str:
    """A name that every system takes for a file, and no header for more than a name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in text).strip(".") or "study"


@cache
def _text(name: str) -> str:
    """One of our own files, as it stands inside an element: nothing in it ends the element."""
    text = (STATIC / name).read_text().strip()
    assert "</script" not in text.lower(), name
    assert "</style" not in text.lower(), name
    return text


@cache
def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"
