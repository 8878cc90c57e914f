"""Other detectors at the same work, timed in turn with ours: ``python -m benchmarks.peers``."""
