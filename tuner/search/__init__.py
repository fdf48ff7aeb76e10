"""Knobs and spaces, suggestions, what is not worth a start, where to begin and when to stop."""

from tuner.search.loading import load_space
from tuner.search.prediction import Expecting, Prediction, predict
from tuner.search.prior import rank
from tuner.search.random import RandomSampler
from tuner.search.sampler import Sampler, Suggestion
from tuner.search.screen import Screen
from tuner.search.space import LeftOut, Space
from tuner.search.stopping import unlikely_to_pay
from tuner.search.tpe import OptunaSampler

__all__ = [
    "Expecting",
    "LeftOut",
    "OptunaSampler",
    "Prediction",
    "RandomSampler",
    "Sampler",
    "Screen",
    "Space",
    "Suggestion",
    "load_space",
    "predict",
    "rank",
    "unlikely_to_pay",
]
