"""Reads and writes videos, frame by frame, with OpenCV. The package is installed on wish."""

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_frcnn import files
from keras_frcnn.data.images import headers

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")

_CODEC = "mp4v"
_FALLBACK_RATE = 25.0  # frames per second of a video that does not say it


def is_video(path: Path) -> bool:
    """Returns whether a file is a video, by its name."""
    return path.suffix.lower() in SUFFIXES


def check_library() -> None:
    """Raises a ValueError if OpenCV is not installed."""
    if importlib.util.find_spec("cv2") is None:
        raise ValueError(
            "videos need OpenCV, which is not installed. To install it: "
            "pip install 'keras-frcnn[video]'"
        )


def num_frames(path: Path) -> int:
    """Returns the number of frames that a video's header tells, 0 if it tells none."""
    with _opened(path) as (video, cv2):
        return max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))


def frame_rate(path: Path) -> float:
    """Returns the frames per second of a video."""
    with _opened(path) as (video, cv2):
        rate = video.get(cv2.CAP_PROP_FPS)
        return rate if 0 < rate < float("inf") else _FALLBACK_RATE


def frames(path: Path) -> Iterator[np.ndarray]:
    """Yields the frames of a video, uint8 [H, W, 3], RGB, turned upright.

    Raises:
        ValueError: If it has no frame that can be read, or its frames are too large.
    """
    with _opened(path) as (video, cv2):
        size = [int(video.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        if size[0] * size[1] > headers.MAX_PIXELS:
            raise ValueError(
                f"{path}: unreadable video: {size[0]} x {size[1]} pixels, more than "
                f"{headers.MAX_PIXELS} are refused"
            )
        is_read, frame = video.read()
        if not is_read:
            raise ValueError(f"{path}: unreadable video: it has no frame that can be decoded")
        while is_read:
            yield np.ascontiguousarray(frame[..., ::-1])
            is_read, frame = video.read()


@contextlib.contextmanager
def writing(path: Path, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields a function that appends a frame, uint8 [H, W, 3] RGB, to an MP4 video without sound.

    All frames have the size of the first one. The file appears when the block ends without error.

    Args:
        path: the file.
        rate: frames per second.

    Raises:
        OSError: If the video cannot be written whole, as on a full disk.
    """
    import cv2

    with files.replacing(path) as part:
        movie = part.with_name(f"{part.name}.mp4")  # OpenCV takes the format from the name
        writer, count = None, 0

        def append(frame: np.ndarray) -> None:
            nonlocal writer, count
            if writer is None:
                codec = cv2.VideoWriter.fourcc(*_CODEC)
                writer = cv2.VideoWriter(str(movie), codec, rate, frame.shape[1::-1])
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
            count += 1

        try:
            yield append
            if writer is not None:
                writer.release()  # only this completes the file, and it reports no error
            if not movie.is_file() or num_frames(movie) != count:
                raise OSError(f"{path} cannot be written: the video is not whole")
            os.replace(movie, part)
        finally:
            movie.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    import cv2

    video = cv2.VideoCapture(str(path))
    try:
        yield video, cv2
    finally:
        video.release()
