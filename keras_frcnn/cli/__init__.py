"""The commands: one module each, listed in ``main.py``."""
