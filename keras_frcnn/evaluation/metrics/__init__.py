"""Metrics: numbers computed from ground truth and detections, with NumPy."""
