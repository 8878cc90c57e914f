"""Importing detectors of other projects, one file a project."""
