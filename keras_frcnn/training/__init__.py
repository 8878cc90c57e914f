"""From a config to a trained detector."""
