"""Evaluation of detections and proposals: metrics, analysis and reports."""
