"""Image files: finding them, reading their headers, decoding, orientation and preprocessing."""
