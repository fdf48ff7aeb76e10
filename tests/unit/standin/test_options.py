"""The stand-in's own options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tuner.core.errors import InvalidInput
from tuner.standin.options import split_options


@pytest.mark.parametrize(
    ("argv", "environ", "stamps"),
    [
        ((), {}, False),
        (("--sim-stamps", "model"), {}, True),
        ((), {"TUNER_SIM_STAMPS": "1"}, True),
        ((), {"TUNER_SIM_STAMPS": "0"}, False),
        (("--sim-stamps",), {"TUNER_SIM_STAMPS": "0"}, True),
    ],
)
def test_stamps_are_off_unless_asked_for(argv: Sequence[str], environ: Mapping[str, str], stamps: bool) -> None:
    options, rest = split_options(argv, environ)
    assert options.stamps is stamps
    assert rest == [item for item in argv if item != "--sim-stamps"]


def test_a_step_may_be_told() -> None:
    assert split_options([], {})[0].step_s is None
    assert split_options(["--sim-step-seconds=0.01"], {"TUNER_SIM_STEP_SECONDS": "2"})[0].step_s == 0.01


@pytest.mark.parametrize(
    ("argv", "environ", "said"),
    [
        ((), {"TUNER_SIM_STAMPS": "yes"}, "TUNER_SIM_STAMPS: 'yes'; allowed: 1, 0"),
        (("--sim-stamps=1",), {}, "--sim-stamps"),
        (("--sim-step-seconds=0",), {}, "--sim-step-seconds: '0'; allowed: a number of at least 1e-06"),
        (("--sim-step-seconds=10ms",), {}, "--sim-step-seconds: '10ms'; allowed: a number of at least 1e-06"),
    ],
)
def test_what_is_wrong_is_named(argv: Sequence[str], environ: Mapping[str, str], said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        split_options(argv, environ)
    assert said in " ".join(refused.value.problems)
