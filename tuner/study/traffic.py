"""What requests are like on average: those that a study sent, and those that an engine has served."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from tuner.core.errors import InvalidInput
from tuner.core.workload import Workload
from tuner.engines.engine import Engine
from tuner.probe.workload.sources import source_of
from tuner.probe.workload.tokenizer import Tokenizer
from tuner.store import StudyRecord
from tuner.study.spec.workload import WorkloadSpec


@dataclass(frozen=True)
class Traffic:
    """Mean tokens of a request's prompt and of its answer; of how many `requests`, where they were counted."""

    prompt_tokens: float
    output_tokens: float
    requests: int | None = None


def served(engine: Engine, page: str) -> Traffic | None:
    """What an engine has served since its start, by its metrics; None where they do not tell, or it served nothing."""
    found = engine.ended(page)
    count = found.get("requests", 0.0)
    if not count or not {"prompt_tokens", "output_tokens"} <= found.keys():
        return None
    return Traffic(found["prompt_tokens"] / count, found["output_tokens"] / count, int(count))


def sent(study: StudyRecord) -> Traffic:
    """What a study measures with.

    Reads its files: raises InvalidInput where one is gone, can't be read, or is not what it was.
    """
    try:
        spec = WorkloadSpec.model_validate(study.spec["workload"])
        before = study.spec.get("files", {})
        changed = [name for name, content in spec.files().items() if before.get(name, content) != content]
        if changed:
            named = (f"workload.{name}: {getattr(spec, name)}" for name in changed)
            raise InvalidInput(*(f"{one} has changed since it was measured with" for one in named))
        workload = spec.core()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("workload", *first["loc"]))
        raise InvalidInput(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
    source = source_of(workload, _tokenizer(workload))
    return Traffic(float(source.mean_prompt_tokens), float(source.mean_output_tokens))


def _tokenizer(workload: Workload) -> Tokenizer | None:
    """Made-up prompts have the lengths that they are to have; only texts have to be counted."""
    return Tokenizer.load(workload.tokenizer) if workload.tokenizer and workload.real_text else None
