"""Settings as people name them: NAME=VALUE."""

from __future__ import annotations

from collections.abc import Iterable

from tuner.core.errors import InvalidInput
from tuner.core.knob import Value
from tuner.study.spec.document import parse_scalar


def parse_settings(texts: Iterable[str], where: str) -> dict[str, Value]:
    """Knobs from NAME=VALUE; `where` says in complaints where they stand. Raises InvalidInput."""
    values: dict[str, Value] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name or not value:
            raise InvalidInput(f"{where} {text!r}: write NAME=VALUE, e.g. max_num_seqs=128")
        knob = name.strip().replace("-", "_")
        if knob in values:
            raise InvalidInput(f"{where} {knob}: is given twice")
        try:
            values[knob] = parse_scalar(value.strip())
        except ValueError as error:
            raise InvalidInput(f"{where} {text!r}: {error}") from None
    return values
