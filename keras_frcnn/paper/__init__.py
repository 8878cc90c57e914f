"""Reproduces the paper's tables 2 to 10 and figure 4, and sets our figures beside the published."""
