"""Which model a Deployment serves, as far as its command line tells."""

from __future__ import annotations

import itertools
import re

from tuner.core.errors import InvalidInput
from tuner.core.hardware import Model
from tuner.simulator.catalogue import find_model

_SERVE = re.compile(r"serve$")
# "meta-llama/Llama-3.1-8B": a program is called by its name alone or by its path from the root.
_REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+")


def model_of(name: str) -> Model | None:
    """The shape of a model by its name or path, where the catalogue has it."""
    try:
        return find_model(name)
    except InvalidInput:
        return None


def positional_model(argv: tuple[str, ...]) -> str | None:
    """The MODEL of `... serve MODEL ...`, or of `MODEL ...` where the image's entrypoint serves."""
    if argv and _REPOSITORY.fullmatch(argv[0]):
        return argv[0]
    for item, following in itertools.pairwise(argv):
        if _SERVE.search(item) and not following.startswith("-"):
            return following
    return None
