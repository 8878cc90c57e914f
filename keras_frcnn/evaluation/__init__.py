"""Judging detections and proposals: result files, metrics, reports. Knows NumPy, not TensorFlow."""
