"""Finds and draws the objects in images: ``python detect.py --help``."""

import sys

from keras_frcnn.cli.detect import main

if __name__ == "__main__":
    sys.exit(main())
