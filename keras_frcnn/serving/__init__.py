"""The trained detector as a SavedModel, and the proof that it answers as the model does."""
