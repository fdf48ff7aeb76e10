"""Reading and editing engine flags inside a pod template. Knows YAML shapes, not Kubernetes calls."""

from tuner.podspec.container import EngineContainer, find_engine
from tuner.podspec.edits import edit
from tuner.podspec.flags import parse
from tuner.podspec.shapes import Shape, UnsupportedShape

__all__ = ["EngineContainer", "Shape", "UnsupportedShape", "edit", "find_engine", "parse"]
