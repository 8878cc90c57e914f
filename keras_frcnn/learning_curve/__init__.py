"""Learning curves: how accuracy grows with the number of training images, and what more bring."""
