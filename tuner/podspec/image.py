"""What an image's name tells."""

from __future__ import annotations

import re

_VERSION = re.compile(r"v?(\d+\.\d+\.\d+(?:\.?(?:post|rc|dev)\d+)?)(?:[-+_].*)?")


def tag(image: str) -> str | None:
    """The tag of an image reference, without registry port and digest; None where it has none."""
    name = image.split("@", 1)[0].rsplit("/", 1)[-1]
    return name.partition(":")[2] or None


def tag_version(image: str) -> str | None:
    """The version that an image's tag names ("v0.9.2-cu128": 0.9.2); None for "latest" and the like.

    It is the image's own version: vendors that repackage an engine may count in their own way.
    """
    match = _VERSION.fullmatch(tag(image) or "")
    return match[1] if match else None
