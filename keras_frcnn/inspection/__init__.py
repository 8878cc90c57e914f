"""Looking at data and at what the model makes of it."""
