"""Reproduces the paper's tables 2 to 10 and figure 4, with published and own figures."""
