"""What lies behind the figures: errors, intervals, comparisons."""
