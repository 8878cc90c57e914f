"""Drawings of what each stage of training and detection makes of an image."""
