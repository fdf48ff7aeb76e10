"""One level: how long it runs, when its answer is certain, and what it says."""
