"""Training steps: taking one, what to do if its numbers are not finite, and taking one again."""
