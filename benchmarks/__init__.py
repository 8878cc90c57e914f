"""Times everything in the package: ``python -m benchmarks --help``."""
