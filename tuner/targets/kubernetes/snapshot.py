"""What a Deployment was before us, kept on the Deployment itself: enough to restore it from nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from tuner.core.errors import Refused
from tuner.targets.kubernetes.fields import ORIGINAL, Fields, Object

_VERSION = 1
# The API server's limit on all annotations of one object together (apimachinery, TotalAnnotationSizeLimitB).
_LIMIT_BYTES = 256 * 1024


@dataclass(frozen=True)
class Snapshot:
    """The original of every field we change, the value we wrote last, and who owned the fields before.

    `owners` are the managedFields entries without a subresource, as found. `taken` is RFC 3339.
    """

    study: str
    taken: str
    container: str
    original: Fields
    last: Fields
    owners: tuple[Object, ...] = ()

    def wrote(self, values: Fields) -> Snapshot:
        """The snapshot to store together with these new values."""
        return replace(self, last={**self.last, **values})

    def dumps(self) -> str:
        """The annotation's text."""
        return json.dumps(
            {
                "version": _VERSION,
                "study": self.study,
                "taken": self.taken,
                "container": self.container,
                "original": self.original,
                "last": self.last,
                "owners": self.owners,
            },
            separators=(",", ":"),
            sort_keys=True,
        )


def stored(deployment: Object) -> Snapshot | None:
    """The snapshot that a Deployment carries. Raises Refused where the annotation can't be read."""
    text = annotations_of(deployment).get(ORIGINAL)
    if text is None:
        return None
    try:
        data = json.loads(text)
        if data["version"] != _VERSION:
            raise Refused(
                f"the annotation {ORIGINAL} was written by another version of tuner (format {data['version']}, "
                f"known: {_VERSION}); restore with that version"
            )
        return Snapshot(
            data["study"],
            data["taken"],
            data["container"],
            dict(data["original"]),
            dict(data["last"]),
            tuple(data["owners"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"the annotation {ORIGINAL} can't be read ({type(error).__name__}: {error}); "
            "put the Deployment back by hand and remove it"
        ) from error


def check_size(deployment: Object, text: str) -> None:
    """Raise Refused where the annotation would not fit beside the others."""
    others = {key: value for key, value in annotations_of(deployment).items() if key != ORIGINAL}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in others.items())
    size += len(ORIGINAL) + len(text.encode())
    if size > _LIMIT_BYTES:
        raise Refused(
            f"the original can't be kept on the Deployment: its annotations would be {size} bytes together, "
            f"the limit is {_LIMIT_BYTES}; remove what is not needed from its annotations"
        )


def annotations_of(deployment: Object) -> dict[str, str]:
    """The Deployment's own annotations."""
    return dict(deployment["metadata"].get("annotations") or {})
