"""Serving: a trained detector as a SavedModel, verified to answer as the model does."""
