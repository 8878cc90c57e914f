"""The EXIF rule: which way up an image is shown.

A camera that is held sideways stores the pixels as its sensor has them, together with a number from
1 (upright) to 8 that says how to show them. Viewers and browsers follow that number, so annotations
refer to the turned image. Every reader of this package follows the same rule:

- The EXIF data are those in a JPEG's first segment APP1 that begins with ``PREFIX``, or in the
  chunk "eXIf" in front of a PNG's pixels.
- The orientation is the first entry with the tag ``ORIENTATION`` in the first directory (IFD0). It
  must be one number, of the type SHORT or LONG, from 1 to 8.
- Everything else means 1: no EXIF data, damaged data, another type or count, another number.
- Ignored are an orientation that only XMP states, EXIF data behind a PNG's pixels or in its text
  chunks, and the directory of the thumbnail (IFD1). Browsers ignore them too, Pillow's
  ``ImageOps.exif_transpose`` does not.

``orientation`` reads EXIF data in Python. A served model has only TensorFlow's operations, so
``graph_decoder.orientation`` finds and reads them in a graph. One table of cases tests both.
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
"""What turns the stored pixels upright, for orientation 1 to 8: whether rows and columns are
swapped first, and whether left and right, and top and bottom, are swapped after that."""


def orientation(exif: bytes) -> int:
    """Reads the orientation from EXIF data, as the module states the rule.

    Args:
        exif: EXIF data with or without ``PREFIX``, as Pillow keeps them in ``info["exif"]`` of an
            image that is open and not loaded yet.

    Returns:
        The orientation of the stored pixels, 1 to 8; 1 is upright.
    """
    while exif.startswith(PREFIX):  # some writers repeat it
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
