"""How an image is to be turned, from its EXIF data; ``encoded`` reads the same in a graph.

A camera held sideways stores the pixels as its sensor has them, and a number from 1 (upright) to 8
that says how to show them. Viewers and browsers follow it, so boxes were drawn on the turned
image.
"""

PREFIX = b"Exif\0\0"
ORIENTATION = 0x0112
ENTRY_BYTES = 12
SHORT, LONG = 3, 4  # types of numbers, of two and of four bytes


def orientation(exif: bytes) -> int:
    """Reads the orientation.

    Args:
        exif: EXIF data, as Pillow's ``info["exif"]`` holds it: of JPEG's APP1 segment or of the
            chunk that stands before PNG's pixels.

    Returns:
        1 to 8; 1 (upright) where the data are broken or do not say.
    """
    while exif.startswith(PREFIX):
        exif = exif[len(PREFIX) :]
    order = {b"II": "little", b"MM": "big"}.get(exif[:2])
    if order is None or sorted(exif[2:4]) != [0, 42]:
        return 1

    def number(place: int, size: int = 2) -> int:
        return int.from_bytes(exif[place : place + size], order)

    start = number(4, 4) + 2
    end = min(start + ENTRY_BYTES * number(start - 2), len(exif) - ENTRY_BYTES + 1)
    for place in range(start, end, ENTRY_BYTES):
        if number(place) == ORIENTATION:
            size = {SHORT: 2, LONG: 4}.get(number(place + 2), 0)
            value = number(place + 8, size)
            return value if number(place + 4, 4) == 1 and value in range(1, 9) else 1
    return 1
