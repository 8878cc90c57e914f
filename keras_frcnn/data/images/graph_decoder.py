"""JPEG and PNG files as served models read them: TensorFlow alone, from bytes to upright pixels.

On a disk ``headers.image_header`` looks at a file before ``transforms.decode`` decodes it. A
served model has only the bytes and the graph, so the same header is read here in TensorFlow.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_frcnn.data.images import exif, transforms
from keras_frcnn.data.images.headers import MAX_PIXELS

_MOST_PARTS = 1000  # segments or chunks before the pixels; cameras write about ten
_MOST_STRAY = 65536  # bytes in one step that belong to no segment
_SOI, _EOI, _SOS, _APP1, _TEM, _FILL = 0xD8, 0xD9, 0xDA, 0xE1, 0x01, 0xFF  # markers of JPEG
_RST0 = 0xD0
_CHECKSUM_BYTES = 4  # after a PNG's chunk


def decode_upright(content: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG and turns it upright by its EXIF orientation.

    Args:
        content: string scalar, the file's bytes.

    Returns:
        uint8 [H, W, 3], RGB, as ``images.to_image`` reads the file.

    Raises:
        InvalidArgumentError: if it is no JPEG or PNG, claims too many pixels, or is damaged.
    """
    with tf.device("CPU:0"):  # a GPU would wait for each of many small steps
        data = tf.io.decode_raw(content, tf.uint8)
        with tf.control_dependencies([_check_size(content, data)]):
            return transforms.decode(tf.identity(content), orientation(data))


def _check_size(content: tf.Tensor, data: tf.Tensor) -> tf.Operation:
    """Refuses what is no JPEG or PNG, or claims too many pixels, before memory is spent."""
    is_jpeg = _has(data, 0, [_FILL, _SOI, _FILL])
    is_png = _has(data, 0, b"\x89PNG\r\n\x1a\n")
    known = tf.debugging.Assert(is_jpeg | is_png, ["unreadable image: expected JPEG or PNG"])
    with tf.control_dependencies([known]):
        shape = tf.cond(
            is_jpeg,
            lambda: tf.cast(tf.io.extract_jpeg_shape(content)[:2], tf.int64),
            lambda: tf.stack([_number(data, 20, 4), _number(data, 16, 4)]),
        )
    words = ["unreadable image: height, width", shape, f"above {MAX_PIXELS} pixels are refused"]
    return tf.debugging.Assert(tf.reduce_prod(shape) <= MAX_PIXELS, words)


def orientation(data: tf.Tensor) -> tf.Tensor:
    """Finds the EXIF data before the pixels of a JPEG or PNG and reads their orientation.

    Args:
        data: uint8 [N], the file's bytes.

    Returns:
        int32 scalar, 1 to 8; 1 where there are none, or where ``exif.orientation`` says so.
    """
    start, end = tf.cond(
        _has(data, 0, [_FILL, _SOI]),
        lambda: _find_exif(data, 2, _segment, 0),
        lambda: _find_exif(data, 8, _chunk, _CHECKSUM_BYTES),
    )
    return _orientation(data[start:end])


def _find_exif(
    data: tf.Tensor, place: int, part: Callable[[tf.Tensor, tf.Tensor], tuple], gap: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where the first EXIF data begin and end, int64; twice the same if there are none.

    Args:
        data: uint8 [N].
        place: where the first part begins.
        part: returns, for the part at a place, where its content begins (0: the pixels, or no part
            at all), where it ends, and whether it is EXIF data.
        gap: bytes from a part's content to the next part.
    """

    def goes_on(start, end, is_exif, count):
        return (start > 0) & ~is_exif & (count < _MOST_PARTS)

    def step(start, end, is_exif, count):
        return (*part(data, end + gap), count + 1)

    before = [tf.constant(value, tf.int64) for value in (1, place - gap)]
    start, end, is_exif, _ = tf.while_loop(
        goes_on, step, [*before, tf.constant(False), 0], parallel_iterations=1
    )
    return start, tf.where(is_exif, end, start)


def _segment(data: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads a JPEG's segment, for ``_find_exif``; bytes that are none are passed over as parts."""
    begin, marker = _number(data, place, 1), _number(data, place + 1, 1)
    size = _number(data, place + 2, 2)
    is_stray = begin != _FILL
    is_alone = (marker == 0) | (marker == _TEM) | ((marker >= _RST0) & (marker <= _SOI))
    is_fill = ~is_stray & (marker == _FILL)
    is_last = ~is_stray & ((marker == _EOI) | (marker == _SOS))
    is_last |= ~is_stray & ~is_fill & ~is_alone & (size < 2)
    is_last |= place >= tf.size(data, tf.int64)
    end = tf.where(is_alone, place + 2, place + 2 + size)
    end = tf.where(is_fill, place + 1, end)
    ahead = tf.argmax(data[place : place + _MOST_STRAY] == _FILL)
    end = tf.where(is_stray, place + tf.maximum(ahead, 1), end)
    is_exif = ~is_stray & ~is_last & (marker == _APP1) & _has(data, place + 4, exif.PREFIX)
    return (place + 4) * tf.cast(~is_last, tf.int64), end, is_exif


def _chunk(data: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads a PNG's chunk, for ``_find_exif``."""
    start = place + 8
    is_last = _has(data, place + 4, b"IDAT") | (start > tf.size(data, tf.int64))
    is_exif = _has(data, place + 4, b"eXIf")
    return start * tf.cast(~is_last, tf.int64), start + _number(data, place, 4), is_exif


def _orientation(data: tf.Tensor) -> tf.Tensor:
    """``exif.orientation`` of uint8 [N]."""
    for _ in range(2):  # JPEG's own, and one that some writers double
        skipped = tf.where(_has(data, 0, exif.PREFIX), len(exif.PREFIX), 0)
        data = data[skipped:]
    is_little = _has(data, 0, b"II")
    is_tiff = is_little | _has(data, 0, b"MM")
    is_tiff &= _has(data, 2, [0, 42]) | _has(data, 2, [42, 0])
    start = _number(data, 4, 4, is_little)
    count = _number(data, start, 2, is_little)
    entries = data[start + 2 : start + 2 + exif.ENTRY_BYTES * count]
    whole = tf.size(entries) // exif.ENTRY_BYTES * exif.ENTRY_BYTES
    entries = tf.cast(tf.reshape(entries[:whole], [-1, exif.ENTRY_BYTES]), tf.int64)

    def column(first: int, size: int) -> tf.Tensor:
        return _join(entries[:, first : first + size], is_little)

    rows = tf.where(tf.equal(column(0, 2), exif.ORIENTATION))[:, 0][:1]
    kind = column(2, 2)
    value = tf.where(kind == exif.SHORT, column(8, 2), column(8, 4))
    is_known = (kind == exif.SHORT) | (kind == exif.LONG)
    is_known &= (column(4, 4) == 1) & (value >= 1) & (value <= 8) & is_tiff
    found = tf.gather(tf.where(is_known, value, 1), rows)
    return tf.cast(tf.reduce_max(tf.concat([found, [1]], 0)), tf.int32)


def _number(
    data: tf.Tensor, place: int | tf.Tensor, size: int, is_little: bool | tf.Tensor = False
) -> tf.Tensor:
    """Returns a whole number of some bytes, int64; bytes past the end are 0."""
    values = data[place : place + size]
    values = tf.cast(tf.pad(values, [[0, size - tf.size(values)]]), tf.int64)
    return _join(tf.ensure_shape(values, [size]), is_little)


def _join(values: tf.Tensor, is_little: bool | tf.Tensor) -> tf.Tensor:
    """Returns the numbers whose bytes are given, int64 [..., size]."""
    # A slice [::-1] of a constant would make TensorFlow's layout optimizer give up the whole graph,
    # the network too.
    little = [256**place for place in range(values.shape[-1])]
    factors = tf.where(
        is_little, tf.constant(little, tf.int64), tf.constant(little[::-1], tf.int64)
    )
    return tf.reduce_sum(values * factors, axis=-1)


def _has(data: tf.Tensor, place: int | tf.Tensor, expected: bytes | list[int]) -> tf.Tensor:
    """Says whether some bytes stand at a place."""
    found = data[place : place + len(expected)]
    found = tf.pad(found, [[0, len(expected) - tf.size(found)]])
    return tf.reduce_all(found == tf.constant(list(expected), tf.uint8))
