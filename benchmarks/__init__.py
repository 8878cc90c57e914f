"""Benchmarks of the whole package: ``python -m benchmarks --help``."""
