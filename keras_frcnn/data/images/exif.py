"""The EXIF orientation of images, and the rule by which it is read.

A camera that is held sideways stores the pixels as its sensor has them, together with a number from
1 (upright) to 8 that says how to display them. Viewers and browsers use this number, so annotations
refer to the turned image. Every reader of this package follows the same rule:

- EXIF data is read from a JPEG's first APP1 segment that begins with ``PREFIX``, or from the chunk
  "eXIf" before a PNG's pixels.
- The orientation is the first entry with the tag ``ORIENTATION`` in the first directory (IFD0). It
  must be a single number from 1 to 8 of the type SHORT or LONG.
- In all other cases the orientation is 1: without EXIF data, with damaged data, and with any other
  type, count or number.
- An orientation that only XMP gives, EXIF data after a PNG's pixels or in its text chunks, and the
  directory of the thumbnail (IFD1) are ignored. Browsers ignore them too, but Pillow's
  ``ImageOps.exif_transpose`` does not.

``orientation`` reads EXIF data in Python. A served model has only TensorFlow operations, so
``graph_decoder.orientation`` does the same in a graph. One table of cases tests both.
"""

PREFIX = b"Exif\0\0"
ORIENTATION = 0x0112
ENTRY_BYTES = 12
SHORT, LONG = 3, 4  # the types of whole numbers with two and with four bytes

TURNS = (
    (False, False, False),
    (False, True, False),
    (False, True, True),
    (False, False, True),
    (True, False, False),
    (True, True, False),
    (True, True, True),
    (True, False, True),
)
"""How to turn the stored pixels upright, for orientation 1 to 8: whether to transpose the image,
and then whether to mirror it horizontally, and vertically."""


def orientation(exif: bytes) -> int:
    """Reads the orientation from EXIF data, by the rule of this module.

    Args:
        exif: EXIF data with or without ``PREFIX``, as in Pillow's ``info["exif"]`` of an image that
            has been opened but not loaded.

    Returns:
        The orientation of the stored pixels, 1 to 8; 1 is upright.
    """
    while exif.startswith(PREFIX):  # some programs write it twice
        exif = exif[len(PREFIX) :]
    byte_order = {b"II": "little", b"MM": "big"}.get(exif[:2])
    if byte_order is None or sorted(exif[2:4]) != [0, 42]:
        return 1

    def number(offset: int, size: int = 2) -> int:
        return int.from_bytes(exif[offset : offset + size], byte_order)

    first = number(4, 4) + 2
    end = min(first + ENTRY_BYTES * number(first - 2), len(exif) - ENTRY_BYTES + 1)
    for entry in range(first, end, ENTRY_BYTES):
        if number(entry) == ORIENTATION:
            size = {SHORT: 2, LONG: 4}.get(number(entry + 2), 0)
            value = number(entry + 8, size)
            return value if number(entry + 4, 4) == 1 and value in range(1, 9) else 1
    return 1
