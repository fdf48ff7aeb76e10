"""What a Deployment was before us, kept on the Deployment itself: enough to restore it from nothing else.

The Deployment controller copies annotations to ReplicaSets and `kubectl rollout undo` copies them back, long after a
study: an original is in force only while a label of the same name has its id, because labels are not copied.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tuner.core.errors import Refused
from tuner.targets.kubernetes import fields
from tuner.targets.kubernetes.fields import ORIGINAL, Fields, Object
from tuner.targets.kubernetes.ownership import unsubresourced

#: The metadata of a patch that takes the original off.
FORGOTTEN: Object = {"labels": {ORIGINAL: None}, "annotations": {ORIGINAL: None}}

_VERSION = 2
# The API server's limit on all annotations of one object together (apimachinery, TotalAnnotationSizeLimitB).
_LIMIT_BYTES = 256 * 1024


@dataclass(frozen=True)
class Snapshot:
    """The original of every field we change, the value we wrote last, and who owned the fields before.

    `owners` are the managedFields entries without a subresource, as found. `taken` is RFC 3339. The fields in `kept`
    are a winner's and stay as they were written.
    """

    id: str
    study: str
    taken: str
    container: str
    original: Fields
    last: Fields
    owners: tuple[Object, ...] = ()
    kept: tuple[str, ...] = ()

    @classmethod
    def of(cls, deployment: Object, study: str, container: str) -> Snapshot:
        """What a Deployment is now, before `study` changes it."""
        taken = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        original = fields.read(deployment, container)
        return cls(uuid.uuid4().hex, study, taken, container, original, {}, unsubresourced(deployment))

    @property
    def temporary(self) -> Fields:
        """What we wrote and is to go back, by our last value."""
        return {name: value for name, value in self.last.items() if name not in self.kept}

    def keeping(self, names: Collection[str]) -> Snapshot:
        """The snapshot to store once the fields in `names` are to stay as they are."""
        return replace(self, kept=tuple(name for name in self.last if name in names))

    def without(self, names: Collection[str]) -> Snapshot:
        """The snapshot of all other fields."""
        return replace(self, last={name: value for name, value in self.last.items() if name not in names})

    def wrote(self, values: Fields) -> Snapshot:
        """The snapshot to store together with these new values."""
        return replace(self, last={**self.last, **values})

    def dumps(self) -> str:
        """The annotation's text."""
        return json.dumps(
            {
                "version": _VERSION,
                "id": self.id,
                "study": self.study,
                "taken": self.taken,
                "container": self.container,
                "original": self.original,
                "last": self.last,
                "owners": self.owners,
                "kept": self.kept,
            },
            separators=(",", ":"),
            sort_keys=True,
        )

    @property
    def metadata(self) -> Object:
        """The metadata of a patch that stores it."""
        return {"labels": {ORIGINAL: self.id}, "annotations": {ORIGINAL: self.dumps()}}


def stored(deployment: Object) -> Snapshot | None:
    """The original in force on a Deployment. Raises Refused where the annotation can't be read."""
    wanted = id_in_force(deployment)
    found = copy_on(deployment) if wanted is not None else None
    return found if found is not None and found.id == wanted else None


def id_in_force(deployment: Object) -> str | None:
    """The id of the original that is in force, by the Deployment's label."""
    label = (deployment["metadata"].get("labels") or {}).get(ORIGINAL)
    return str(label) if label is not None else None


def copy_on(item: Object) -> Snapshot | None:
    """The original that a Deployment or ReplicaSet carries, in force or not. Raises Refused where it can't be read."""
    text = annotations_of(item).get(ORIGINAL)
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
            data["id"],
            data["study"],
            data["taken"],
            data["container"],
            dict(data["original"]),
            dict(data["last"]),
            tuple(data["owners"]),
            tuple(data["kept"]),
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


def annotations_of(item: Object) -> dict[str, str]:
    """An object's own annotations."""
    return dict(item["metadata"].get("annotations") or {})
