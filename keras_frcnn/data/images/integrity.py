"""Checks image files for damage, wrong suffixes, duplicates and near-duplicates.

Similar images have similar difference hashes: an image is shrunk to 9 x 9 grey cells, and each of
the 128 bits says whether a cell is brighter than its neighbour.
"""

import contextlib
import dataclasses
import hashlib
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from keras_frcnn.data.images import headers, pillow
from keras_frcnn.data.images.spans import Span, open_image

UNKNOWN_HASH = b""

_SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",)}
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_MAX_BYTES = 256_000_000
_LARGE_PIXELS = 16_000_000
_large = threading.Lock()  # large images are decoded one at a time, to bound the memory
_CELLS = 8
_LEAST_CONTRAST = 2.0  # standard deviation of the cells in grey levels; below it, bits are noise
_CHUNK_BYTES = 32_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """What is known about an image file.

    Attributes:
        height: height in pixels of the image as displayed, that is, turned by its EXIF orientation;
            0 if the header is unreadable.
        width: width in pixels; see ``height``.
        orientation: EXIF orientation (1 to 8) of the stored pixels.
        suffix: the suffix that fits the content; empty if unknown.
        digest: SHA-256 of the image's bytes; empty if they cannot be read.
        difference_hash: 16 bytes; ``UNKNOWN_HASH`` for an image without pixels or contrast.
        problem: ``(kind, message)``; None if nothing is wrong.
    """

    height: int = 0
    width: int = 0
    orientation: int = 1
    suffix: str = ""
    digest: str = ""
    difference_hash: bytes = UNKNOWN_HASH
    problem: tuple[str, str] | None = None


def read(path: Path, span: Span | None = None) -> ImageFile:
    """Reads and decodes an image file.

    Args:
        path: any file. Files that are too large or neither JPEG nor PNG are not decoded.
        span: the position of the image in the file; None if it is the whole file.

    Returns:
        The facts about the file. No file content ever raises an error.
    """
    try:
        size = path.stat().st_size if span is None else span.length
        if not size:
            return ImageFile(problem=("unreadable_image", "the file is empty"))
        if size > _MAX_BYTES:
            words = f"the file has {size} bytes, more than {_MAX_BYTES} are refused"
            return ImageFile(problem=("unreadable_image", words))
        with open_image(path, span) as file:
            has_signature = file.read(8).startswith(_SIGNATURES)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return ImageFile(problem=("unreadable_image", str(error)))
    with _large if _claimed_pixels(path, span) > _LARGE_PIXELS else contextlib.nullcontext():
        return _read_image(path, span, has_signature, digest)


def nearest(hashes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the most similar one of other images for each image.

    Args:
        hashes: uint64 [N, 2], the difference hashes of the images.
        others: uint64 [M, 2], the difference hashes of the other images; M is at least 1.

    Returns:
        ``(indices, distances)``: the rows of ``others`` [N], the first among equals; and the
        numbers of differing bits [N], 0 to 128.
    """
    indices, distances = np.zeros(len(hashes), int), np.zeros(len(hashes), int)
    step = max(1, _CHUNK_BYTES // others.nbytes)
    for start in range(0, len(hashes), step):
        chunk = slice(start, start + step)
        differing = np.bitwise_count(hashes[chunk, np.newaxis] ^ others).sum(-1, dtype=np.uint8)
        indices[chunk] = differing.argmin(-1)
        distances[chunk] = differing.min(-1)
    return indices, distances


def _claimed_pixels(path: Path, span: Span | None) -> int:
    try:
        with open_image(path, span) as file, Image.open(file) as image:
            return image.width * image.height
    except Exception:  # Pillow's parsers raise nearly anything on damaged files
        return 0


def _read_image(path: Path, span: Span | None, has_signature: bool, digest: str) -> ImageFile:
    """Decodes a file of allowed size; ``has_signature`` is whether it begins like a JPEG or PNG."""
    try:
        height, width, orientation = headers.image_header(path, span)
    except ValueError as error:
        kind = "broken_image" if has_signature else "unreadable_image"
        words = str(error).removeprefix(f"{path}: unreadable image: ")
        return ImageFile(digest=digest, problem=(kind, words))
    shape = {"height": height, "width": width, "orientation": orientation, "digest": digest}
    try:
        suffixes, difference_hash = _decode(path, span)
    except Exception as error:  # see above
        words = f"not decoded: {error or type(error).__name__}"
        return ImageFile(**shape, problem=("broken_image", words))
    problem = None
    if span is None and path.suffix.lower() not in suffixes:
        problem = ("wrong_extension", f"the content is that of a {suffixes[0]} file")
    shape |= {"suffix": suffixes[0], "difference_hash": difference_hash}
    return ImageFile(**shape, problem=problem)


def _decode(path: Path, span: Span | None) -> tuple[tuple[str, ...], bytes]:
    """Returns the suffixes that fit the content, and the difference hash.

    A damaged file raises any of Pillow's errors.
    """
    with open_image(path, span) as file, Image.open(file) as image:
        suffixes = _SUFFIXES[image.format]
        if image.format == "PNG":
            image.verify()  # checks the checksums, which decoding ignores
    with open_image(path, span) as file, Image.open(file) as image:
        image.load()
        return suffixes, _difference_hash(image)


def _difference_hash(image: Image.Image) -> bytes:
    side = _CELLS + 1
    cells = pillow.with_8_bits(image).convert("L").resize((side, side), Image.Resampling.BOX)
    cells = np.asarray(cells, np.int16)
    if cells.std() < _LEAST_CONTRAST:
        return UNKNOWN_HASH
    across = cells[:_CELLS, 1:] > cells[:_CELLS, :-1]
    down = cells[1:, :_CELLS] > cells[:-1, :_CELLS]
    return np.packbits(np.stack([across, down])).tobytes()
