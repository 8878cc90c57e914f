"""Figures computed from ground truth and detections, with NumPy alone."""
