"""Detections on data sets, and proposals by an RPN or by classic methods."""
