"""Trains a detector: ``python train.py --help``."""

import sys

from keras_frcnn.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
