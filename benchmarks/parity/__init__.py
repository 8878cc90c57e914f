"""Checks that imported detectors find what the originals find."""
