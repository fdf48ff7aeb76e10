"""The KV cache as blocks, with a prefix cache: vLLM's block pool, counted rather than numbered.

A block that others may share is known by a hash, which identifies its tokens and all before them. All other blocks are
alike, so only their number is kept. Free blocks wait in one queue, least recently used first; a hashed block in it can
still be hit until its turn comes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Holding:
    """The blocks of one request, in order: hashed ones it shares or may share, and the number of the others."""

    hashed: list[Hashable] = field(default_factory=list)
    plain: int = 0

    @property
    def blocks(self) -> int:
        """How many blocks are held."""
        return len(self.hashed) + self.plain


class BlockPool:
    """All blocks of one engine. `blocks` of `block_size` tokens, one of which is the null block."""

    def __init__(self, blocks: int, block_size: int, caching: bool) -> None:
        self.block_size = block_size
        self.caching = caching
        self.total = max(0, blocks - 1)
        self.free = self.total
        self._queue: OrderedDict[Hashable, int] = OrderedDict()  # a block's hash -> 1, or ("plain", serial) -> count
        self._users: dict[Hashable, int] = {}
        self._serial = 0
        if self.total:
            self._queue[self._plain_key()] = self.total

    @property
    def usage(self) -> float:
        """Share of the blocks that are held."""
        return 1 - self.free / self.total if self.total else 1.0

    def cached_prefix(self, hashes: Sequence[Hashable]) -> int:
        """How many leading blocks of `hashes` are in the cache, held or free."""
        if not self.caching:
            return 0
        for count, block in enumerate(hashes):
            if block not in self._users and block not in self._queue:
                return count
        return len(hashes)

    def free_after_hits(self, hashes: Sequence[Hashable]) -> int:
        """Free blocks left once the cached blocks `hashes` are held."""
        return self.free - sum(block in self._queue for block in hashes)

    def hold_cached(self, holding: Holding, hashes: Sequence[Hashable]) -> None:
        """Take cached blocks; they must be in the cache."""
        for block in hashes:
            if self._queue.pop(block, 0):
                self.free -= 1
            self._users[block] = self._users.get(block, 0) + 1
            holding.hashed.append(block)

    def grow(self, holding: Holding, blocks: int, hashes: Sequence[Hashable] = ()) -> bool:
        """Hold `blocks` blocks in all; those within `hashes` become cached.

        False, and no change, where too few are free.
        """
        new = blocks - holding.blocks
        if new > self.free:
            return False
        if new <= 0:
            return True
        self._take(new)
        begin = len(holding.hashed)
        if self.caching and not holding.plain and begin < len(hashes):
            for block in hashes[begin : begin + new]:
                if block in self._users or block in self._queue:
                    break  # somebody computes the same tokens now: ours stays a duplicate
                self._users[block] = 1
                holding.hashed.append(block)
                new -= 1
        holding.plain += new
        return True

    def release(self, holding: Holding, hashes: Sequence[Hashable] = ()) -> None:
        """Give all blocks back, the last first, so that the ends of prefixes are evicted before their beginnings.

        `hashes` name the plain blocks too, where they may be asked for again (a preempted request's own).
        """
        named = list(hashes[len(holding.hashed) : holding.blocks]) if self.caching else []
        named = [block for block in named if block not in self._users and block not in self._queue]
        if plain := holding.plain - len(named):
            self._queue[self._plain_key()] = plain
        for block in reversed(named):
            self._queue[block] = 1
        self.free += holding.plain
        for block in reversed(holding.hashed):
            self._users[block] -= 1
            if not self._users[block]:
                del self._users[block]
                self._queue[block] = 1
                self.free += 1
        holding.hashed.clear()
        holding.plain = 0

    def _take(self, count: int) -> None:
        self.free -= count
        while count:
            key, size = self._queue.popitem(last=False)
            if size > count:
                self._queue[key] = size - count
                self._queue.move_to_end(key, last=False)
                return
            count -= size

    def _plain_key(self) -> Hashable:
        self._serial += 1
        return ("plain", self._serial)
