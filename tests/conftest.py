"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# A time limit for each example would fail on a machine that has something else to do.
settings.register_profile("tuner", deadline=None)
settings.load_profile("tuner")
