"""Templates: how values are written in HTML, and what every page knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tuner import __version__
from tuner.dashboard import pictures
from tuner.dashboard.access import Visitor
from tuner.dashboard.config import Config, Right
from tuner.study import units

STATIC = Path(__file__).parent / "static"


def prepare() -> None:
    """Compile all templates, so that nobody's first page waits for it."""
    environment = _environment()
    for name in environment.list_templates():
        environment.get_template(name)


def render(template: str, request: Request, who: Visitor | None = None, **values: Any) -> str:
    """A page for a visitor; None: for anybody."""
    config: Config = request.app.state.config
    return alone(
        template,
        who=who,
        may=_rights(who, config),
        sign_in=config.sign_in,
        path=request.url.path,
        **values,
    )


def alone(template: str, **values: Any) -> str:
    """What hangs on no request: a file, or a part of a page that is open already."""
    text = _environment().get_template(template).render(**values)
    return text.encode("utf-8", "replace").decode()  # names of files may have half characters, and no answer can


def _rights(who: Visitor | None, config: Config) -> Mapping[str, bool]:
    """What a page offers; `sign_in`: more, to whoever signs in."""
    known = who is not None and who.known
    return {
        "review": who is not None and who.right >= Right.REVIEW and known,
        "apply": who is not None and who.right >= Right.APPLY and known,
        "sign_in": config.right > Right.READ and config.sign_in.token is not None and not known,
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tuner.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        static=_static,
        units=units,
        version=__version__,
        pictures_of_study=pictures.of_study,
        pictures_of_trial=pictures.of_trial,
        pictures_of_trials=pictures.of_trials,
    )
    environment.filters.update(
        span=units.duration,
        moment=_moment,
        data=_data,
    )
    return environment


@cache
def _static(name: str) -> str:
    """The address of a file, which changes with its content: browsers keep it for good."""
    digest = sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?{digest}"


def _moment(value: datetime | str | None) -> Markup:
    """A time in UTC, which the page's script writes in the reader's own."""
    if value is None:
        return Markup("")
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    return Markup('<time datetime="{}">{}</time>').format(
        when.isoformat(timespec="seconds"), f"{when:%Y-%m-%d %H:%M} UTC"
    )


def _data(value: Any) -> Markup:
    """JSON inside a script element of type application/json: nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
