"""The order of training: rows drawn anew each epoch, and batches of images of like shapes."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keras_frcnn.config import Config
from keras_frcnn.data.dataset import Record

_WINDOW_BATCHES = 64  # sorted at a time: more pad less, fewer leave more to chance
_WINDOWS = 4  # an epoch at least, so that in small sets too partners change


def aspects_of(records: Sequence[Record], config: Config) -> dict[int, float]:
    """Finds the images to train on.

    Args:
        records: images.
        config: without ``include_empty``, those that have no object to learn are left out; those
            marked difficult count where ``difficult`` keeps them.

    Returns:
        Height / width by row of the records.

    Raises:
        ValueError: if there is none.
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
    """Finds the images that a stretch of training draws: all, unless it is short.

    Args:
        records: images.
        config: as for ``aspects_of``; and ``batch_size`` and ``seed``.
        start_step: number of batches before.
        steps: number of batches.

    Returns:
        Rows of the records, in order.

    Raises:
        ValueError: as ``aspects_of``.
    """
    aspects, drawn = aspects_of(records, config), set()
    order = batches(aspects, config.batch_size, config.seed)
    for places in itertools.islice(order, start_step, start_step + steps):
        drawn.update(places[:, 0].tolist())
        if len(drawn) == len(aspects):
            break
    return sorted(drawn)


def batches(aspects: Mapping[int, float], batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Draws the order of training, for ever.

    Args:
        aspects: for each row to draw, its image's height / width. The rows of a batch are on one
            side of 1 and mostly close.
        batch_size: rows a batch.
        seed: the run's seed.

    Yields:
        int64 [batch_size, 2]: row, and the epoch in which it was drawn. Each epoch draws every row
        once; rows that fill no batch wait for the following epoch's.
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
    """Puts images into batches of like shapes.

    Of each orientation windows are cut from the drawn order, and each window is sorted by aspect.
    A batch then stands where its tallest image was drawn (of equals the last), so that batches
    come in random order; images of one shape stay in the drawn order.

    Args:
        aspects: float [N], height / width of the images as drawn.
        batch_size: images a batch.

    Returns:
        int64 [n, batch_size], places in ``aspects``. The last drawn of each orientation, fewer than
        a batch, are left out.
    """
    grouped = [np.zeros([0, batch_size], np.int64)]
    for places in (np.flatnonzero(aspects > 1), np.flatnonzero(aspects <= 1)):
        full = len(places) // batch_size
        size = batch_size * min(max(full // _WINDOWS, 1), _WINDOW_BATCHES)
        for start in range(0, full * batch_size, size):
            window = places[start : min(start + size, full * batch_size)]
            window = window[np.argsort(aspects[window], kind="stable")]
            grouped.append(window.reshape(-1, batch_size))
    grouped = np.concatenate(grouped)
    return grouped[np.argsort(grouped[:, -1])]
