"""Giving fields back to the managers that owned them before us.

Restoring a value does not restore who owns it: the last writer does, and a server-side apply by the earlier owner then
conflicts. So the managedFields entries are put together again and written in a patch of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tuner.targets.kubernetes.client import MANAGER
from tuner.targets.kubernetes.fields import Object

Path = tuple[str, ...]


def give_back(
    saved: Sequence[Object], today: Sequence[Object], paths: Iterable[Path], kept: Iterable[Path] = ()
) -> list[Object]:
    """The managedFields of an object in which only `paths` go back to their `saved` owners.

    What others took or dropped meanwhile stays as it is today. Of our own entry only `kept` stays, beside what it had
    before.
    """
    wanted, ours = list(paths), list(kept)
    current = {_key(entry): entry for entry in today}
    result: list[Object] = []
    for entry in saved:
        before = entry.get("fieldsV1") or {}
        now = current.pop(_key(entry), {})
        left = now.get("fieldsV1") or {}
        fields = _union(before, _only(left, ours)) if _is_ours(entry) else _union(left, _only(before, wanted))
        if fields == before:
            result.append(entry)
        elif fields:
            result.append({**(now or entry), "fieldsV1": fields})
    for entry in current.values():
        if not _is_ours(entry):
            result.append(entry)
        elif left := _only(entry.get("fieldsV1") or {}, ours):
            result.append({**entry, "fieldsV1": left})
    return result


def _is_ours(entry: Object) -> bool:
    return entry.get("manager") == MANAGER and "subresource" not in entry


def unsubresourced(deployment: Object) -> tuple[Object, ...]:
    """The entries that the owners of a Deployment's spec and metadata have; status is its controller's."""
    return tuple(e for e in deployment["metadata"].get("managedFields") or [] if "subresource" not in e)


def _key(entry: Object) -> tuple[str, ...]:
    return tuple(str(entry.get(name, "")) for name in ("manager", "operation", "apiVersion", "subresource"))


def _only(fields: Object, paths: Iterable[Path]) -> Object:
    """The part of a fieldsV1 tree at or below `paths`."""
    found: Object = {}
    for path in paths:
        node: Any = fields
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
            if node is None:
                break
        else:
            _place(found, path, node)
    return found


def _place(tree: Object, path: Path, leaf: Any) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = leaf


def _union(left: Object, right: Object) -> Object:
    merged = dict(left)
    for key, value in right.items():
        merged[key] = _union(merged[key], value) if key in merged else value
    return merged
