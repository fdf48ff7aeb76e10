"""Where an engine runs: a Kubernetes workload, or the simulator."""
