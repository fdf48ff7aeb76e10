"""A live Deployment as a target: found, leased, changed, followed, read back and restored."""

from tuner.targets.kubernetes.client import Client
from tuner.targets.kubernetes.restore import RestoreReport
from tuner.targets.kubernetes.restore import restore_leftover as restore_deployment

connect = Client.connect

__all__ = ["Client", "RestoreReport", "connect", "restore_deployment"]
