"""Continuous batching as vLLM V1 does it, one step at a time.

Running requests come first, then waiting ones are admitted, all within `max_num_batched_tokens` and `max_num_seqs`;
prompts are prefilled in chunks; when blocks run out the most recent request is preempted and recomputed later.

The scheduler has no clock: a caller in virtual time adds up durations, one in real time sleeps them.

    scheduler.add(SimRequest(id=1, prompt_tokens=512, output_tokens=128))
    while not scheduler.idle:
        outcome = scheduler.step()
        ... outcome.duration_s, outcome.tokens, outcome.finished
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from tuner.simulator.blocks import BlockPool, Holding
from tuner.simulator.cost import StepCost, StepWork
from tuner.simulator.settings import Settings


@dataclass(frozen=True, slots=True)
class SimRequest:
    """One request. `hashes` identify its leading whole prompt blocks, as far as another request may share them.

    A hash stands for its block's tokens and all before them (see `prefix_hashes`); () where nothing is shared.
    """

    id: int
    prompt_tokens: int
    output_tokens: int
    hashes: tuple[Hashable, ...] = ()


def prefix_hashes(spans: Iterable[tuple[Hashable, int]], block_size: int) -> tuple[Hashable, ...]:
    """Hashes of the whole blocks at a prompt's beginning, given as (what identifies a piece of text, its tokens).

    A block that ends in one of the pieces is known by that piece and all before it.
    """
    hashes: list[Hashable] = []
    known: Hashable = 0
    end = 0
    for text, tokens in spans:
        known = hash((known, text))
        end += tokens
        hashes += [(known, index) for index in range(len(hashes), end // block_size)]
    return tuple(hashes)


@dataclass(slots=True, eq=False)
class Sequence:
    """A request inside the scheduler.

    Of `length` known tokens, `computed` have their KV in the cache, and the blocks held have room for `capacity`.
    """

    request: SimRequest
    length: int
    computed: int = 0
    capacity: int = 0
    holding: Holding = field(default_factory=Holding)

    @property
    def generated(self) -> int:
        """Tokens produced so far."""
        return self.length - self.request.prompt_tokens

    @property
    def left(self) -> int:
        """Tokens still to be produced."""
        return self.request.prompt_tokens + self.request.output_tokens - self.length


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What one step did: (request id, tokens it brought) in scheduling order, and the requests it completed."""

    duration_s: float
    tokens: list[tuple[int, int]]
    finished: list[int]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Several equal decode steps: each brought one token to each of `ids`."""

    durations: list[float]
    ids: list[int]


@dataclass
class Counters:
    """Totals since the start, as vLLM's metrics have them."""

    preemptions: int = 0
    prefix_queries: int = 0  # tokens looked up in the prefix cache
    prefix_hits: int = 0  # tokens found there
    drafted: int = 0
    accepted: int = 0
    steps: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    finished: int = 0


class Scheduler:
    """One engine: `kv_tokens` of cache, settings, a step cost, and for speculation the chance that a draft is accepted.

    `acceptance` is the probability that a drafted token is accepted, given that all before it were.
    """

    #: Longest stretch of equal steps taken at once: within it the step time is taken to grow linearly.
    MAX_STRETCH = 64

    def __init__(
        self, settings: Settings, kv_tokens: int, cost: StepCost, *, acceptance: float = 0.0, seed: int = 0
    ) -> None:
        self.settings = settings
        self.cost = cost
        self.acceptance = acceptance
        self.pool = BlockPool(kv_tokens // settings.block_size, settings.block_size, settings.enable_prefix_caching)
        self.counters = Counters()
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._random = random.Random(seed)
        self._steady = False  # the last step was pure decoding and nothing can be admitted until a request ends

    @property
    def idle(self) -> bool:
        """Nothing running, nothing waiting."""
        return not self.running and not self.waiting

    @property
    def kv_usage(self) -> float:
        """Share of the cache in use, 0 to 1."""
        return self.pool.usage

    def fits(self, request: SimRequest) -> bool:
        """Whether the request is within max_model_len and the cache could ever hold all of it."""
        length = request.prompt_tokens + request.output_tokens
        lookahead = self.settings.num_speculative_tokens
        return length <= self.settings.max_model_len and self._blocks(length + lookahead) <= self.pool.total

    def add(self, request: SimRequest) -> None:
        """Queue a request. Raises ValueError for one that can never be served (see `fits`)."""
        if request.prompt_tokens < 1 or request.output_tokens < 1 or not self.fits(request):
            raise ValueError(f"request {request.id} can't be served: {request}")
        if not self.waiting:
            self._steady = False
        self.waiting.append(Sequence(request, request.prompt_tokens))

    def cancel(self, request_id: int) -> bool:
        """Drop a request that its client gave up. False where it is not here."""
        for queue in (self.running, self.waiting):
            for sequence in queue:
                if sequence.request.id == request_id:
                    queue.remove(sequence)
                    self.pool.release(sequence.holding)
                    self._steady = False
                    return True
        return False

    def step(self) -> StepOutcome:
        """Run one engine step. An idle engine's step takes no time."""
        batch = self._schedule()
        work = self._work(batch)
        outcome = self._complete(batch, self.cost.seconds(work))
        self.counters.steps += 1
        self._steady = self._nothing_changes(batch, work, outcome)
        return outcome

    def run_ahead(self, limit_s: float) -> Stretch | None:
        """Take equal decode steps until one ends at or after `limit_s`, or something is about to change.

        None where the next step is not known to be like the last: take `step` then.
        """
        batch = len(self.running)
        if not self._steady or not batch or self.settings.num_speculative_tokens:
            return None
        steps = min(sequence.left for sequence in self.running) - 1
        steps = min(steps, self.MAX_STRETCH)
        if steps < 2 or batch * (steps // self.settings.block_size + 1) > self.pool.free:
            return None
        context = sum(sequence.computed for sequence in self.running)
        first = self.cost.seconds(StepWork(decode_sequences=batch, context_tokens=context))
        last = self.cost.seconds(StepWork(decode_sequences=batch, context_tokens=context + batch * (steps - 1)))
        durations = _ramp(first, last, steps, limit_s)
        self._advance(len(durations))
        return Stretch(durations, [sequence.request.id for sequence in self.running])

    def _schedule(self) -> list[tuple[Sequence, int]]:
        batch: list[tuple[Sequence, int]] = []
        budget = self.settings.max_num_batched_tokens
        per_decode = self.settings.tokens_per_decode
        preemptions = self.counters.preemptions
        for sequence in self.running.copy():
            missing = sequence.length - sequence.computed
            count = min(missing if missing > 1 else per_decode, budget)
            if sequence.computed + count > sequence.capacity and not self._make_room(sequence, count):
                break
            batch.append((sequence, count))
            budget -= count
            if budget <= 0 or sequence is self.running[-1]:
                break
        if self.counters.preemptions == preemptions:
            self._admit(batch, budget)
        return batch

    def _make_room(self, sequence: Sequence, count: int) -> bool:
        """Preempt the most recent until `count` more tokens fit; False where that takes the sequence itself."""
        while not self._grow(sequence, count):
            victim = self.running[-1]
            self._preempt(victim)
            if victim is sequence:
                return False
        return True

    def _admit(self, batch: list[tuple[Sequence, int]], budget: int) -> None:
        while self.waiting and budget > 0 and len(self.running) < self.settings.max_num_seqs:
            sequence = self.waiting[0]
            hits = self._cached(sequence)
            missing = sequence.length - hits * self.settings.block_size
            if missing > budget and not self.settings.enable_chunked_prefill:
                return
            if not self._admissible(sequence, hits):
                return
            self.waiting.popleft()
            self.running.append(sequence)
            self.pool.hold_cached(sequence.holding, self._hashes(sequence)[:hits])
            sequence.computed = hits * self.settings.block_size
            self.counters.prefix_queries += sequence.length
            self.counters.prefix_hits += sequence.computed
            count = min(missing, budget)
            self._grow(sequence, count)
            batch.append((sequence, count))
            budget -= count

    def _admissible(self, sequence: Sequence, hits: int) -> bool:
        """The whole prompt must fit at once, so that no half-prefilled request holds blocks for nothing."""
        cached = self._hashes(sequence)[:hits]
        return self._blocks(sequence.length) - hits <= self.pool.free_after_hits(cached)

    def _cached(self, sequence: Sequence) -> int:
        """Leading blocks found in the cache; the last token is always computed, since its output is needed."""
        hashes = self._hashes(sequence)
        usable = (sequence.length - 1) // self.settings.block_size
        return self.pool.cached_prefix(hashes[:usable])

    def _hashes(self, sequence: Sequence) -> tuple[Hashable, ...]:
        """A preempted request knows its own blocks again, beside those it shares."""
        if not sequence.generated:
            return sequence.request.hashes
        shared = sequence.request.hashes
        own = range(len(shared), sequence.length // self.settings.block_size)
        return shared + tuple((sequence, index) for index in own)

    def _blocked(self) -> bool:
        """Whether the first waiting request can't be admitted until a running one ends."""
        if len(self.running) >= self.settings.max_num_seqs:
            return True
        sequence = self.waiting[0]
        return not self._admissible(sequence, self._cached(sequence))

    def _nothing_changes(self, batch: list[tuple[Sequence, int]], work: StepWork, outcome: StepOutcome) -> bool:
        if work.prefill_tokens or outcome.finished or len(batch) < len(self.running):
            return False
        return not self.waiting or self._blocked()

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.settings.block_size)

    def _grow(self, sequence: Sequence, count: int) -> bool:
        blocks = self._blocks(sequence.computed + count)
        if not self.pool.grow(sequence.holding, blocks, sequence.request.hashes):
            return False
        sequence.capacity = sequence.holding.blocks * self.settings.block_size
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        whole = sequence.computed // self.settings.block_size
        self.pool.release(sequence.holding, self._hashes(sequence)[:whole])
        sequence.computed = sequence.capacity = 0
        self.waiting.appendleft(sequence)
        self.counters.preemptions += 1

    def _work(self, batch: list[tuple[Sequence, int]]) -> StepWork:
        prefill = sequences = pairs = decodes = context = 0
        for sequence, count in batch:
            if sequence.length - sequence.computed > 1:
                prefill += count
                sequences += 1
                pairs += count * sequence.computed + count * (count + 1) // 2
            else:
                decodes += 1
                context += sequence.computed
        drafted = self.settings.num_speculative_tokens
        return StepWork(prefill, sequences, pairs, decodes, context, drafted)

    def _complete(self, batch: list[tuple[Sequence, int]], duration_s: float) -> StepOutcome:
        tokens: list[tuple[int, int]] = []
        finished: list[int] = []
        counters = self.counters
        for sequence, count in batch:
            missing = sequence.length - sequence.computed
            new = 1
            if missing > 1:
                counters.prompt_tokens += count
                if count < missing:
                    sequence.computed += count
                    continue
            elif count > 1:
                new = min(1 + self._accepted(count - 1), sequence.left)
            sequence.length += new
            sequence.computed = sequence.length - 1
            counters.generated_tokens += new
            tokens.append((sequence.request.id, new))
            if not sequence.left:
                finished.append(sequence.request.id)
                self.pool.release(sequence.holding)
        if finished:
            counters.finished += len(finished)
            self.running = [sequence for sequence in self.running if sequence.left]
        return StepOutcome(duration_s, tokens, finished)

    def _accepted(self, drafted: int) -> int:
        accepted = 0
        while accepted < drafted and self._random.random() < self.acceptance:
            accepted += 1
        self.counters.drafted += drafted
        self.counters.accepted += accepted
        return accepted

    def _advance(self, steps: int) -> None:
        for sequence in self.running:
            sequence.length += steps
            sequence.computed += steps
            if sequence.computed > sequence.capacity:
                self._grow(sequence, 0)
        self.counters.steps += steps
        self.counters.generated_tokens += steps * len(self.running)


def _ramp(first: float, last: float, steps: int, limit_s: float) -> list[float]:
    """Durations of `steps` steps that go evenly from `first` to `last`, cut after the one that reaches `limit_s`."""
    slope = (last - first) / max(1, steps - 1)
    durations = [first + slope * index for index in range(steps)]
    elapsed = 0.0
    for index, duration in enumerate(durations):
        elapsed += duration
        if elapsed >= limit_s:
            return list(islice(durations, index + 1))
    return durations
