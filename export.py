"""Writes a trained detector as a SavedModel for serving: ``python export.py --help``."""

import sys

from keras_frcnn.cli.export import main

if __name__ == "__main__":
    sys.exit(main())
