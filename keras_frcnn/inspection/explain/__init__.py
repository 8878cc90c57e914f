"""Explanations: why a detector found an object, missed it, or detected something wrong."""
