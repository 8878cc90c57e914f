"""The order of training: rows are shuffled in each epoch, and batched by similar image shapes."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keras_frcnn.config import Config
from keras_frcnn.data.dataset import Record

# The largest number of batches that are sorted together. More give less padding and randomness.
_WINDOW_BATCHES = 64
# The least number of windows in an epoch, so that the batches of small data sets change as well.
_WINDOWS = 4


def aspects_of(records: Sequence[Record], config: Config) -> dict[int, float]:
    """Finds the images to train on.

    Args:
        records: the images.
        config: the settings. Without ``include_empty``, images without an object to learn are left
            out. Difficult objects are learned only if ``difficult`` keeps them.

    Returns:
        The aspect ratio, height / width, by row of the records.

    Raises:
        ValueError: If there are no images to train on.
    """
    aspects = {
        row: record.height / record.width
        for row, record in enumerate(records)
        if config.include_empty
        or not record.difficult.all()
        or (len(record.labels) and config.resolve_difficult(record.form) == "keep")
    }
    if not aspects:
        raise ValueError(
            f"expected images to train on. Received: {len(records)} images, none of them with "
            f"an object to learn (include_empty={config.include_empty})"
        )
    return aspects


def drawn_rows(records: Sequence[Record], config: Config, start_step: int, steps: int) -> list[int]:
    """Finds the images that the given training steps draw. Many steps draw all images.

    Args:
        records: the images.
        config: the settings; those of ``aspects_of``, ``batch_size`` and ``seed`` are used.
        start_step: number of batches before the first of these steps.
        steps: number of steps.

    Returns:
        Rows of the records, in ascending order.

    Raises:
        ValueError: See ``aspects_of``.
    """
    aspects, drawn = aspects_of(records, config), set()
    stream = batches(aspects, config.batch_size, config.seed)
    for batch in itertools.islice(stream, start_step, start_step + steps):
        drawn.update(batch[:, 0].tolist())
        if len(drawn) == len(aspects):
            break
    return sorted(drawn)


def batches(aspects: Mapping[int, float], batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Draws an endless series of batches of rows.

    A batch holds only portraits (with an aspect ratio above 1) or no portraits, mostly of similar
    aspect ratios.

    Args:
        aspects: the aspect ratio, height / width, of the image in each row to draw.
        batch_size: number of rows per batch.
        seed: the run's seed.

    Yields:
        int64 [batch_size, 2]: each row, and the epoch in which it was drawn. Every epoch draws each
        row once; rows that do not fill a batch are joined with those of the next epoch.
    """
    rows = np.fromiter(aspects, np.int64)
    drawn = np.zeros([0, 2], np.int64)
    for epoch in itertools.count():
        permuted = np.random.default_rng([seed, epoch]).permutation(rows)
        permuted = np.stack([permuted, np.full_like(permuted, epoch)], axis=1)
        drawn = np.concatenate([drawn, permuted])
        grouped = _group(np.array([aspects[row] for row in drawn[:, 0].tolist()]), batch_size)
        yield from drawn[grouped]
        drawn = np.delete(drawn, grouped.ravel(), axis=0)


def _group(aspects: np.ndarray, batch_size: int) -> np.ndarray:
    """Groups images into batches of similar shapes.

    The images of each orientation are divided into windows in the order in which they were drawn,
    and each window is sorted by aspect ratio. The position of a batch is that at which its tallest
    image (the last one among equals) was drawn, so the order of the batches is random. Images of
    the same shape keep their order.

    Args:
        aspects: float [N], height / width of the images in the order in which they were drawn.
        batch_size: number of images per batch.

    Returns:
        int64 [n, batch_size], indices into ``aspects``. The last images of each orientation that do
        not fill a batch are left out.
    """
    grouped = [np.zeros([0, batch_size], np.int64)]
    for indices in (np.flatnonzero(aspects > 1), np.flatnonzero(aspects <= 1)):
        full = len(indices) // batch_size
        size = batch_size * min(max(full // _WINDOWS, 1), _WINDOW_BATCHES)
        for start in range(0, full * batch_size, size):
            window = indices[start : min(start + size, full * batch_size)]
            window = window[np.argsort(aspects[window], kind="stable")]
            grouped.append(window.reshape(-1, batch_size))
    grouped = np.concatenate(grouped)
    return grouped[np.argsort(grouped[:, -1])]
