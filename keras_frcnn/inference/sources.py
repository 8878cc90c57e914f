"""The images that a user hands over: files, folders, patterns, videos and standard input."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from keras_frcnn.data.images.files import find_images
from keras_frcnn.inference import videos

STANDARD_INPUT = "-"

_STARTS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n\x1a\n": ".png"}


@dataclasses.dataclass(frozen=True)
class SourceImage:
    """One image to detect on: a file, or a frame of a video.

    Attributes:
        name: the name of the image's or video's file.
        frame: the number of the frame, from 0; None for a file.
        path: the file.
        image: the file, the frame's pixels uint8 [H, W, 3], or the error why they cannot be read.
    """

    name: str
    frame: int | None
    path: Path
    image: Path | np.ndarray | ValueError

    @property
    def key(self) -> tuple[str, int | None]:
        return self.name, self.frame


@dataclasses.dataclass(frozen=True)
class Sources:
    """All files that a user names, each once.

    Attributes:
        paths: the image and video files.
        digest: a digest of the image on standard input; empty if there is none.
    """

    paths: list[Path]
    digest: str = ""

    def __len__(self) -> int:
        """Returns the number of images and frames, as far as the files tell it."""
        return sum(videos.num_frames(p) if videos.is_video(p) else 1 for p in self.paths)

    def __iter__(self) -> Iterator[SourceImage]:
        for path in self.paths:
            name = path.name if self.digest and path == self.paths[-1] else str(path)
            if videos.is_video(path):
                yield from _frames(path)
            else:
                yield SourceImage(name, None, path, path)


def find_sources(images: Sequence[str], stream: BinaryIO, scratch: str) -> Sources:
    """Finds the files that a user names.

    Args:
        images: as for ``find_images``, and names of video files. "-" is the stream: a list of such
            names, one on each line or separated by zero bytes, or else one image.
        stream: the standard input. It is read only if it is named.
        scratch: a folder for the image on the stream.

    Returns:
        The files.

    Raises:
        ValueError: If a name leads to no file, the stream is empty, or a video is named and OpenCV
            is missing.
    """
    named = [name for name in images if name != STANDARD_INPUT]
    digest, last = "", []
    if len(named) < len(images):
        content = stream.read()
        suffix = next((s for start, s in _STARTS.items() if content.startswith(start)), "")
        if suffix:
            digest = hashlib.sha256(content).hexdigest()
            last = [Path(scratch) / f"standard_input{suffix}"]
            last[0].write_bytes(content)
        else:
            listed = content.decode(errors="surrogateescape")
            names = listed.split("\0") if "\0" in listed else listed.splitlines()
            named += filter(None, names)
            if not any(names):
                raise ValueError("standard input holds neither an image nor names of images")
    paths = find_images(named) + last
    if any(map(videos.is_video, paths)):
        videos.check_library()
    return Sources(paths, digest)


def _frames(path: Path) -> Iterator[SourceImage]:
    number = 0
    try:
        for number, frame in enumerate(videos.frames(path)):
            yield SourceImage(str(path), number, path, frame)
    except ValueError as error:
        yield SourceImage(str(path), number, path, error)
