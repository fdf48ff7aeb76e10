"""The types of a study's fields: how each is read, what is refused, and what is allowed (the description)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo

from tuner.core.errors import InvalidInput
from tuner.core.slo import parse_slo
from tuner.search.loading import space_file
from tuner.simulator.catalogue import find_gpu, find_model, model_from_config
from tuner.store.url import ALLOWED as STORAGE
from tuner.store.url import parse_url
from tuner.study.spec.quantity import MOMENT, format_duration, parse_duration, parse_moment, parse_share

_SLO = "METRIC STATISTIC <= BOUND, e.g. 'ttft p95 <= 500ms' or 'error rate <= 0.1%'"
_VALUE = "true, false, a number or text"
_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_STUDY = r"^[a-z0-9]([-a-z0-9._]{0,61}[a-z0-9])?$"
_MOST_TOKENS = 1_000_000
_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"


def _context(info: ValidationInfo, key: str) -> Any:
    return (info.context or {}).get(key)


def _reading(error: InvalidInput) -> ValueError:
    return ValueError("; ".join(error.problems))


def _taken_by(read: Callable[[str], object]) -> AfterValidator:
    """Text that `read` takes; what it says against others is told in its own words."""

    def check(text: str) -> str:
        try:
            read(text)
        except InvalidInput as error:
            raise _reading(error) from None
        return text

    return AfterValidator(check)


def _model(name: str, info: ValidationInfo) -> str:
    """A name of the catalogue, or the path of a config.json, which is made absolute."""
    path = _beside(name, info)
    try:
        if name.endswith(".json") or path.is_file():
            model_from_config(path)
            return str(path)
        find_model(name)
    except InvalidInput as error:
        # The value goes before each complaint.
        raise ValueError("; ".join(problem.removeprefix(f"{path}: ") for problem in error.problems)) from None
    return name


def _file(name: str, info: ValidationInfo) -> str:
    path = _beside(name, info)
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise ValueError("is an empty file")
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}") from None
    return str(path)


def _beside(name: str, info: ValidationInfo) -> Path:
    """Paths in a study's file are relative to that file."""
    folder = _context(info, "folder") or Path()
    return (folder / Path(name).expanduser()).absolute()


def _absolute(url: str) -> str:
    return parse_url(url).render_as_string(hide_password=False)


def _endpoint(text: str) -> str:
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("names a user or password; the engine's API key comes from tuner's own environment")
    try:
        urlsplit(text).port  # noqa: B018 - it is read only where it is asked for
    except ValueError:
        raise ValueError("names no port: those are whole numbers up to 65535") from None
    return text.rstrip("/")


def _knob_value(value: Any) -> Any:
    if not isinstance(value, (bool, int, float, str)):
        raise ValueError("is not a setting's value")
    return value


def knob_names(values: Any) -> Any:
    """Knobs are named as the engine names them, with underscores; hyphens as on its command line are taken too."""
    return {str(k).lstrip("-").replace("-", "_"): v for k, v in values.items()} if isinstance(values, dict) else values


def lengths(value: Any) -> Any:
    """`512` is short for its mean."""
    if isinstance(value, (float, str)):
        raise ValueError("is not a whole number")
    return {"mean": value} if isinstance(value, int) and not isinstance(value, bool) else value


def length_pairs(value: Any, info: ValidationInfo) -> Any:
    """A list of [prompt, output] or [prompt, output, weight], or the path of a CSV file of them."""
    if isinstance(value, str):
        return _file(value, info)
    if not isinstance(value, list) or not value:
        raise ValueError("is no list of pairs")
    wrong = next((pair for pair in value if not _is_pair(pair)), None)
    if wrong is not None:
        raise ValueError(f"has {wrong!r}, which is no pair of whole numbers from 1, perhaps with a weight over 0")
    return value


def _is_pair(value: Any) -> bool:
    if not isinstance(value, list) or len(value) not in (2, 3):
        return False
    whole = all(type(one) is int and 1 <= one <= _MOST_TOKENS for one in value[:2])
    return whole and all(type(one) in (int, float) and one > 0 for one in value[2:])


def kind(value: Any) -> Any:
    """`capacity` is short for its kind."""
    return {"kind": value} if isinstance(value, str) else value


def hardware(value: Any) -> Any:
    """`h100/llama-3.1-8b`, or `2xh100/...` for two GPUs."""
    if not isinstance(value, str):
        return value
    several = re.fullmatch(r"(\d{1,3})x([^/]+)/(.+)", value, re.ASCII | re.IGNORECASE)
    if several:
        return {"gpu": several[2], "model": several[3], "count": int(several[1])}
    gpu, separator, model = value.partition("/")
    if not separator or not model or not gpu:
        raise ValueError("is not GPU/MODEL")
    if (typo := re.match(r"[\d.]*x?(?=\D)", gpu, re.ASCII | re.IGNORECASE)) and typo[0]:
        raise ValueError(f"is not GPU/MODEL: no GPU's name begins with {typo[0]!r}")
    return {"gpu": gpu, "model": model}


def _moment(value: Any, info: ValidationInfo) -> Any:
    return None if value is None else parse_moment(value, _context(info, "now"))


Text = Annotated[str, Field(min_length=1, max_length=1000, description="text")]
Share = Annotated[float, BeforeValidator(parse_share)]
Duration = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
GpuName = Annotated[str, _taken_by(find_gpu), Field(description="a GPU of the catalogue, e.g. H100")]
ModelName = Annotated[
    str, AfterValidator(_model), Field(description="a model of the catalogue, e.g. Llama-3.1-8B, or a config.json")
]
KnobValue = Annotated[Any, BeforeValidator(_knob_value), Field(description=_VALUE)]
EngineName = Annotated[str, _taken_by(space_file), Field(description="an engine with a search space")]
SloText = Annotated[str, _taken_by(parse_slo), AfterValidator(str.strip), Field(description=_SLO)]
FileName = Annotated[str, AfterValidator(_file), Field(description="the path of a JSONL file")]
TraceFile = Annotated[
    str, AfterValidator(_file), Field(description="the path of an Azure trace (CSV) or a Mooncake trace (JSONL)")
]
TokenizerFile = Annotated[str, AfterValidator(_file), Field(description="the path of a tokenizer.json")]
LengthPairs = Annotated[
    Any,
    BeforeValidator(length_pairs),
    Field(description="pairs of prompt and output tokens, e.g. [[512, 128], [2048, 64]], or the path of a CSV file"),
]
Endpoint = Annotated[
    str,
    Field(pattern=r"^https?://[^\s/]+(/\S*)?$", description="a URL, e.g. http://10.0.0.5:8000"),
    AfterValidator(_endpoint),
]
StorageUrl = Annotated[str, _taken_by(parse_url), AfterValidator(_absolute), Field(description=STORAGE)]
Moment = Annotated[datetime | None, BeforeValidator(_moment), Field(description=MOMENT)]
Label = Annotated[str, Field(pattern=_LABEL, description="a namespace: lower case letters, digits, hyphens")]
Subdomain = Annotated[str, Field(pattern=_SUBDOMAIN, description="a Deployment: lower case letters, digits, - .")]
StudyName = Annotated[str, Field(pattern=_STUDY, description="up to 63 of a-z, 0-9, - . _")]
