"""The fields of a study, as docs and options name them."""

from __future__ import annotations

import re

from pydantic import BaseModel

from tuner.study.spec.section import Section


def field_paths(model: type[BaseModel], at: tuple[str, ...] = ()) -> list[str]:
    """All fields of a study, dotted; a section counts as well as its fields."""
    found = []
    for name, field in model.model_fields.items():
        found.append(".".join((*at, name)))
        inner = re.findall(r"\b(\w+Spec)\b", str(field.annotation))
        sections = {section.__name__: section for section in Section.__subclasses__()}
        for section in inner[:1]:
            found += field_paths(sections[section], (*at, name))
    return found
