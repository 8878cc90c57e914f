"""Other detectors at the same work, timed in turn with this one: ``python -m benchmarks.peers``."""
