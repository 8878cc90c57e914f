"""Readers of annotated data, one file per format."""
