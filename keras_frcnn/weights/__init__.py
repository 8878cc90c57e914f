"""Checkpoints, ImageNet weights, and starting from another detector."""
