"""Image files: where their bytes lie, what their headers say, how they are decoded and resized."""
