"""Looks for what is wrong with images and annotations: ``python check_data.py --help``."""

import sys

from keras_frcnn.cli.check_data import main

if __name__ == "__main__":
    sys.exit(main())
