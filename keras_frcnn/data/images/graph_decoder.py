"""Decodes JPEG and PNG in a served model, with TensorFlow operations only.

For files, ``headers.image_header`` reads the header and ``transforms.decode`` decodes the pixels. A
served model has only the bytes and the graph, so this module reads the header with TensorFlow.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_frcnn.data.images import attempt, exif, headers, transforms

_MAX_BLOCKS = 1000  # JPEG segments or PNG chunks before the pixels; cameras write about ten
_MAX_STRAY_BYTES = 65536  # bytes outside any segment that are skipped in one step
_SOI, _EOI, _SOS, _APP1, _TEM, _FILL = 0xD8, 0xD9, 0xDA, 0xE1, 0x01, 0xFF  # JPEG's markers
_RST0 = 0xD0
_CHECKSUM_BYTES = 4  # after a PNG chunk
_START = "unreadable image: "

_Block = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # (start, end) of its content, whether it is EXIF


def decode_upright(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a JPEG or PNG and turns it upright by its EXIF orientation. No file is an error.

    Args:
        content: string scalar, the file's bytes.

    Returns:
        ``(image, problem)``: uint8 [H, W, 3], RGB, the same pixels that ``files.to_image`` reads
        from the file; and a string scalar that is empty, or a sentence that says why the file
        cannot be read. The image is then empty: [0, 0, 3].
    """
    empty = tf.zeros([0, 0, 3], tf.uint8)
    with tf.device("CPU:0"):  # many small steps are slow on a GPU
        data = tf.io.decode_raw(content, tf.uint8)
        _, problem = _header(content, data)

        def decode():
            arguments = content, orientation(data)
            return attempt.or_else(transforms.decode, arguments, otherwise=empty)

        image = tf.cond(problem == "", decode, lambda: empty)
        is_damaged = (problem == "") & (tf.size(image) == 0)
        return image, tf.where(is_damaged, f"{_START}its pixels cannot be decoded", problem)


def read_header(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads the size of a JPEG or PNG from its first bytes. No file is an error.

    Args:
        content: string scalar, the file's bytes.

    Returns:
        ``(size, problem)``: int32 [2], the height and width of the upright image; and a string
        scalar that is empty, or a sentence that says why the file is refused. Its size is then 0.
    """
    with tf.device("CPU:0"):
        data = tf.io.decode_raw(content, tf.uint8)
        size, problem = _header(content, data)
        is_turned = orientation(data) >= 5  # see exif.TURNS
        size = tf.where(is_turned, size[::-1], size)
        return tf.where(problem == "", tf.cast(size, tf.int32), 0), problem


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


def _header(content: tf.Tensor, data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the stored height and width, int64 [2], and why a file is refused before memory and
    time are spent on its pixels.
    """
    is_jpeg = _has(data, 0, [_FILL, _SOI, _FILL])
    is_png = _has(data, 0, b"\x89PNG\r\n\x1a\n")
    shape = tf.cond(  # of a damaged header 0, so that decoding fails
        is_jpeg,
        lambda: attempt.or_else(
            lambda content: tf.cast(tf.io.extract_jpeg_shape(content)[:2], tf.int64),
            (content,),
            otherwise=tf.zeros([2], tf.int64),
        ),
        lambda: tf.stack([_number(data, 20, 4), _number(data, 16, 4)]),
    )
    pixels = tf.reduce_prod(shape)
    scans = _count(content, headers.SCAN)
    texts = tf.add_n([_count(content, name) for name in headers.TEXTS])
    size = tf.strings.format("{} x {} pixels", (shape[1], shape[0]))
    problems = (
        (tf.size(data) == 0, "the file is empty"),
        (~(is_jpeg | is_png), "expected JPEG or PNG"),
        (pixels > headers.MAX_PIXELS, size + f", more than {headers.MAX_PIXELS} are refused"),
        (
            is_jpeg & (scans * pixels > headers.MAX_SCANNED_PIXELS),
            tf.strings.format("{} scans of ", scans) + size + " are refused",
        ),
        (is_png & (texts > headers.MAX_TEXTS), f"more than {headers.MAX_TEXTS} texts are refused"),
    )
    found = tf.constant("")
    for applies, words in reversed(problems):
        found = tf.where(applies, _START + words, found)
    return shape, found


def _count(content: tf.Tensor, part: bytes) -> tf.Tensor:
    """Returns how often a part occurs in a file, int64."""
    return tf.size(tf.strings.split(content, part), tf.int64) - 1


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
    is_fill_byte = data[offset : offset + _MAX_STRAY_BYTES] == _FILL
    ahead = tf.argmax(tf.concat([is_fill_byte, [False]], 0))  # at the end there are no bytes
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
