"""The detector and its two stages."""
