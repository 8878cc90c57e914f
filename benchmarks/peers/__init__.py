"""Other detectors on the same workload, timed in turn with ours: ``python -m benchmarks.peers``."""
