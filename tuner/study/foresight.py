"""What is expected of each trial before it runs, so that a page can hold it against what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tuner.core.expected import Expected
from tuner.core.knob import Candidate
from tuner.search import Expecting, Prediction, Screen, predict
from tuner.store.codec import encode
from tuner.study.judge import WORST_VIOLATION

#: What is expected of a candidate; None where nothing can be. May take some tenths of a second of the processor.
Foresee = Callable[[Candidate], Expected | None]


@dataclass
class Foresight:
    """Expectations of one study's configurations; what the starts so far taught the planner goes into them.

    `basis` is what they rest on; None: nothing can be expected.
    """

    basis: Expecting | None
    screen: Screen
    _made: dict[Candidate, Expected | None] = field(default_factory=dict)

    def of(self, candidate: Candidate) -> Expected | None:
        """What is expected of a configuration, or was before its first start: what it showed is no part of it.

        None where nothing can be. Takes some tenths of a second of the processor; never raises.
        """
        if candidate not in self._made:
            self._made[candidate] = self._expect(candidate)
        return self._made[candidate]

    def _expect(self, candidate: Candidate) -> Expected | None:
        if self.basis is None:
            return None
        known = replace(
            self.basis,
            model=self.screen.model or self.basis.model,
            constants=self.screen.constants or self.basis.constants,
        )
        try:
            expected = _brief(predict(candidate, known))
            encode(expected)  # what can't be stored is none
        except Exception:  # expectations are for looking at: whatever is wrong with one, the trial goes on
            return None
        return expected


def _brief(prediction: Prediction) -> Expected:
    return Expected(
        value=prediction.value,
        rate=prediction.rate,
        kv_tokens=prediction.kv_tokens,
        margins={slo: -min(violation, WORST_VIOLATION) for slo, violation in prediction.margins.items()},
        certain=prediction.certain,
        refusal=prediction.refusal.message if prediction.refusal else None,
    )
