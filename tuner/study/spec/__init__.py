"""What a user asks for: a study as YAML and options, read, checked and complained about. docs/spec.md is its manual.

`document` and `options` read what was given, `sections`, `workload` and `fields` (with `quantity`) say what is allowed,
`agreement` what must fit together, `complaints` how a mistake is told; `load` leads through them.
"""

from tuner.study.spec.load import default_storage, load_spec
from tuner.study.spec.sections import KubernetesSpec, ObjectiveSpec, SimulatedSpec, StudySpec

__all__ = ["KubernetesSpec", "ObjectiveSpec", "SimulatedSpec", "StudySpec", "default_storage", "load_spec"]
