"""Measures a trained detector on an image set: ``python evaluate.py --help``."""

import sys

from keras_frcnn.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
