"""Drawings of an image at each stage of training and detection."""
