"""Decodes JPEG and PNG in a served model, with TensorFlow operations only.

For files, ``headers.image_header`` reads the header and ``transforms.decode`` decodes the pixels. A
served model has only the bytes and the graph, so this module reads the header with TensorFlow.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_frcnn.data.images import exif, transforms
from keras_frcnn.data.images.headers import MAX_PIXELS

_MAX_BLOCKS = 1000  # JPEG segments or PNG chunks before the pixels; cameras write about ten
_MAX_STRAY_BYTES = 65536  # bytes outside any segment that are skipped in one step
_SOI, _EOI, _SOS, _APP1, _TEM, _FILL = 0xD8, 0xD9, 0xDA, 0xE1, 0x01, 0xFF  # JPEG's markers
_RST0 = 0xD0
_CHECKSUM_BYTES = 4  # after a PNG chunk

_Block = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # (start, end) of its content, whether it is EXIF


def decode_upright(content: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG and turns it upright by its EXIF orientation.

    Args:
        content: string scalar, the file's bytes.

    Returns:
        uint8 [H, W, 3], RGB: the same pixels that ``files.to_image`` reads from the file.

    Raises:
        InvalidArgumentError: If the file is neither JPEG nor PNG, has too many pixels, or is
            damaged.
    """
    with tf.device("CPU:0"):  # many small steps are slow on a GPU
        data = tf.io.decode_raw(content, tf.uint8)
        with tf.control_dependencies([_check_size(content, data)]):
            return transforms.decode(tf.identity(content), orientation(data))


def orientation(data: tf.Tensor) -> tf.Tensor:
    """Reads the orientation from the bytes of a file, by the rule in ``exif``.

    Args:
        data: uint8 [N], the bytes of a JPEG or PNG.

    Returns:
        int32 scalar, 1 to 8; 1 is upright.
    """
    start, end = tf.cond(
        _has(data, 0, [_FILL, _SOI]),
        lambda: _find_exif(data, 2, _segment, 0),
        lambda: _find_exif(data, 8, _chunk, _CHECKSUM_BYTES),
    )
    return _orientation(data[start:end])


def _check_size(content: tf.Tensor, data: tf.Tensor) -> tf.Operation:
    """Refuses other formats and too many pixels, before memory is allocated."""
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


def _find_exif(
    data: tf.Tensor, first: int, read_block: Callable[[tf.Tensor, tf.Tensor], _Block], gap: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Walks over a file's blocks, JPEG segments or PNG chunks, up to the first EXIF data.

    Args:
        data: uint8 [N], the file's bytes.
        first: the offset of the first block.
        read_block: ``_segment`` or ``_chunk``. It takes the data and a block's offset, and returns
            the start of the block's content (0 if this is the end of the blocks), its end, and
            whether it is EXIF data.
        gap: number of bytes between a block's content and the next block.

    Returns:
        ``(start, end)`` of the EXIF data, int64; equal numbers if there is none.
    """

    def goes_on(start, end, is_exif, count):
        return (start > 0) & ~is_exif & (count < _MAX_BLOCKS)

    def step(start, end, is_exif, count):
        return (*read_block(data, end + gap), count + 1)

    before = [tf.constant(value, tf.int64) for value in (1, first - gap)]
    start, end, is_exif, _ = tf.while_loop(
        goes_on, step, [*before, tf.constant(False), 0], parallel_iterations=1
    )
    return start, tf.where(is_exif, end, start)


def _segment(data: tf.Tensor, offset: tf.Tensor) -> _Block:
    """Reads a JPEG segment. Stray bytes between segments count as a block of their own."""
    begin, marker = _number(data, offset, 1), _number(data, offset + 1, 1)
    size = _number(data, offset + 2, 2)
    is_stray = begin != _FILL
    is_alone = (marker == 0) | (marker == _TEM) | ((marker >= _RST0) & (marker <= _SOI))
    is_fill = ~is_stray & (marker == _FILL)
    is_last = ~is_stray & ((marker == _EOI) | (marker == _SOS))
    is_last |= ~is_stray & ~is_fill & ~is_alone & (size < 2)
    is_last |= offset >= tf.size(data, tf.int64)
    end = tf.where(is_alone, offset + 2, offset + 2 + size)
    end = tf.where(is_fill, offset + 1, end)
    ahead = tf.argmax(data[offset : offset + _MAX_STRAY_BYTES] == _FILL)
    end = tf.where(is_stray, offset + tf.maximum(ahead, 1), end)
    is_exif = ~is_stray & ~is_last & (marker == _APP1) & _has(data, offset + 4, exif.PREFIX)
    return (offset + 4) * tf.cast(~is_last, tf.int64), end, is_exif


def _chunk(data: tf.Tensor, offset: tf.Tensor) -> _Block:
    """Reads a PNG chunk."""
    start = offset + 8
    is_last = _has(data, offset + 4, b"IDAT") | (start > tf.size(data, tf.int64))
    is_exif = _has(data, offset + 4, b"eXIf")
    return start * tf.cast(~is_last, tf.int64), start + _number(data, offset, 4), is_exif


def _orientation(data: tf.Tensor) -> tf.Tensor:
    """Does the same as ``exif.orientation`` with EXIF data as uint8 [N]."""
    for _ in range(2):  # JPEG's prefix, and another one that some programs write
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
    number_type = column(2, 2)
    value = tf.where(number_type == exif.SHORT, column(8, 2), column(8, 4))
    is_known = (number_type == exif.SHORT) | (number_type == exif.LONG)
    is_known &= (column(4, 4) == 1) & (value >= 1) & (value <= 8) & is_tiff
    found = tf.gather(tf.where(is_known, value, 1), rows)
    return tf.cast(tf.reduce_max(tf.concat([found, [1]], 0)), tf.int32)


def _number(
    data: tf.Tensor, offset: int | tf.Tensor, size: int, is_little: bool | tf.Tensor = False
) -> tf.Tensor:
    """Reads an integer of ``size`` bytes as int64; bytes after the end of the data count as 0."""
    values = data[offset : offset + size]
    values = tf.cast(tf.pad(values, [[0, size - tf.size(values)]]), tf.int64)
    return _join(tf.ensure_shape(values, [size]), is_little)


def _join(values: tf.Tensor, is_little: bool | tf.Tensor) -> tf.Tensor:
    """Joins bytes, int64 [..., size], into integers."""
    # Reversing a tensor with a slice [::-1] makes TensorFlow's layout optimizer skip the whole
    # graph, including the network.
    little = [256**power for power in range(values.shape[-1])]
    factors = tf.where(
        is_little, tf.constant(little, tf.int64), tf.constant(little[::-1], tf.int64)
    )
    return tf.reduce_sum(values * factors, axis=-1)


def _has(data: tf.Tensor, offset: int | tf.Tensor, expected: bytes | list[int]) -> tf.Tensor:
    """Returns whether the bytes at an offset are ``expected``."""
    found = data[offset : offset + len(expected)]
    found = tf.pad(found, [[0, len(expected) - tf.size(found)]])
    return tf.reduce_all(found == tf.constant(list(expected), tf.uint8))
