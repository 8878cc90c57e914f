"""Backbones: the shared convolutions that turn images into feature maps."""
