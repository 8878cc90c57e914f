"""The paper's tables and figure 4, made again: what to train and measure, and beside what."""
