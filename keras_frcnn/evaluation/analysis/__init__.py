"""What lies behind the figures of an evaluation: errors, intervals, comparisons; NumPy only."""
