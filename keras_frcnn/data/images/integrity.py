"""Looking at an image's file: is it whole, is it what its name says, which others does it equal.

Two images that look alike have nearly the same difference hash: the image is shrunk to 9 x 9
grey cells, and each of 128 bits says whether a cell is brighter than its neighbour.
"""

import contextlib
import dataclasses
import hashlib
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from keras_frcnn.data.images import headers
from keras_frcnn.data.images.spans import Span, open_image

UNKNOWN_HASH = b""

_SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",)}
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_MAX_BYTES = 256_000_000
_LARGE_PIXELS = 16_000_000
_large = threading.Lock()  # large images are decoded one at a time, so that memory holds
_CELLS = 8
_LEAST_CONTRAST = 2.0  # grey levels between cells; below it the bits are noise
_CHUNK_BYTES = 32_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """What an image's file holds.

    Attributes:
        height: pixels of the image as displayed, that is after its EXIF orientation; 0 if the
            header is unreadable.
        width: likewise.
        orientation: EXIF orientation (1 to 8) of the stored pixels.
        suffix: what the name should end in by the content; empty if unknown.
        digest: of the image's bytes; empty if it cannot be read.
        look: 16 bytes, the difference hash; ``UNKNOWN_HASH`` without pixels or contrast.
        problem: what is wrong, as ``(kind, words)``; None for a whole image.
    """

    height: int = 0
    width: int = 0
    orientation: int = 1
    suffix: str = ""
    digest: str = ""
    look: bytes = UNKNOWN_HASH
    problem: tuple[str, str] | None = None


def read(path: Path, span: Span | None = None) -> ImageFile:
    """Reads an image's file to its last pixel.

    Args:
        path: any file. Others than JPEG and PNG, and what is too large, are refused before they
            are decoded.
        span: where in it the image lies; None: it is the whole file.

    Returns:
        What it holds. Nothing that a file holds raises an error.
    """
    try:
        size = path.stat().st_size if span is None else span.length
        if not size:
            return ImageFile(problem=("unreadable_image", "the file is empty"))
        if size > _MAX_BYTES:
            words = f"the file has {size} bytes, more than {_MAX_BYTES} are refused"
            return ImageFile(problem=("unreadable_image", words))
        with open_image(path, span) as file:
            begins_well = file.read(8).startswith(_SIGNATURES)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return ImageFile(problem=("unreadable_image", str(error)))
    with _large if _claimed_pixels(path, span) > _LARGE_PIXELS else contextlib.nullcontext():
        return _look_into(path, span, begins_well, digest)


def nearest(looks: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds for each image the one of others that looks most alike.

    Args:
        looks: uint64 [N, 2], difference hashes.
        others: uint64 [M, 2], M at least 1.

    Returns:
        ``(indices, distances)``: int [N] rows of ``others``, the first of equals, and int [N]
        numbers of differing bits, 0 to 128.
    """
    indices, distances = np.zeros(len(looks), int), np.zeros(len(looks), int)
    step = max(1, _CHUNK_BYTES // others.nbytes)
    for start in range(0, len(looks), step):
        chunk = slice(start, start + step)
        differing = np.bitwise_count(looks[chunk, np.newaxis] ^ others).sum(-1, dtype=np.uint8)
        indices[chunk] = differing.argmin(-1)
        distances[chunk] = differing.min(-1)
    return indices, distances


def _claimed_pixels(path: Path, span: Span | None) -> int:
    try:
        with open_image(path, span) as file, Image.open(file) as image:
            return image.width * image.height
    except Exception:  # Pillow's parsers raise nearly anything on damaged files
        return 0


def _look_into(path: Path, span: Span | None, begins_well: bool, digest: str) -> ImageFile:
    """Decodes an image that is not too large."""
    try:
        height, width, orientation = headers.image_header(path, span)
    except ValueError as error:
        kind = "broken_image" if begins_well else "unreadable_image"
        words = str(error).removeprefix(f"{path}: unreadable image: ")
        return ImageFile(digest=digest, problem=(kind, words))
    shape = {"height": height, "width": width, "orientation": orientation, "digest": digest}
    try:
        suffixes, look = _decode(path, span)
    except Exception as error:  # see above
        words = f"not decoded: {error or type(error).__name__}"
        return ImageFile(**shape, problem=("broken_image", words))
    problem = None
    if span is None and path.suffix.lower() not in suffixes:
        problem = ("wrong_extension", f"the content is that of a {suffixes[0]} file")
    return ImageFile(**shape, suffix=suffixes[0], look=look, problem=problem)


def _decode(path: Path, span: Span | None) -> tuple[tuple[str, ...], bytes]:
    """Returns the suffixes that fit the content, and the difference hash; raises if damaged."""
    with open_image(path, span) as file, Image.open(file) as image:
        suffixes = _SUFFIXES[image.format]
        if image.format == "PNG":
            image.verify()  # the checksums, which decoding passes over
    with open_image(path, span) as file, Image.open(file) as image:
        image.load()
        return suffixes, _difference_hash(image)


def with_8_bits(image: Image.Image) -> Image.Image:
    """Returns an image of 16 bits with 8; others, which Pillow converts well, as they are."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image


def _difference_hash(image: Image.Image) -> bytes:
    side = _CELLS + 1
    cells = with_8_bits(image).convert("L").resize((side, side), Image.Resampling.BOX)
    cells = np.asarray(cells, np.int16)
    if cells.std() < _LEAST_CONTRAST:
        return UNKNOWN_HASH
    across = cells[:_CELLS, 1:] > cells[:_CELLS, :-1]
    down = cells[1:, :_CELLS] > cells[:-1, :_CELLS]
    return np.packbits(np.stack([across, down])).tobytes()
