"""Compares detectors after equal minutes of training."""
