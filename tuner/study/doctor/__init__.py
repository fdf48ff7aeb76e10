"""What `tuner doctor` says about an engine's manifest or Deployment."""

from tuner.study.doctor.examine import examine_file, findings_for
from tuner.study.doctor.finding import Finding, Severity

__all__ = ["Finding", "Severity", "examine_file", "findings_for"]
