"""Exports trained detectors as SavedModels for serving, and verifies their answers."""
