"""Detections and proposals over images and data sets."""
