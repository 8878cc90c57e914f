"""Commands that depend on each other and run one after the other, each in its own process."""
