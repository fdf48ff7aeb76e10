"""What the end-to-end tests stand on: a real cluster, images, the real engine, a way to kill tuner at a named point."""
