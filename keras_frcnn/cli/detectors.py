"""The detectors that commands ask: a checkpoint, a SavedModel or a server, also by tiles."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.console import say
from keras_frcnn.models.detections import ImageDetections

Detect = Callable[[Iterable[Any]], Iterator[Any]]
"""Takes images, files or uint8 [H, W, 3]; yields for each its detections or a ``ValueError``."""


@contextlib.contextmanager
def opened(config: Config, options: SimpleNamespace) -> Iterator[tuple[Detect, dict[str, Any]]]:
    """Opens the detector that the options name.

    Args:
        config: the settings of a checkpoint.
        options: ``kind`` is the option that names the detector: "checkpoint", "saved_model" or
            "server". The others are those of detect.

    Yields:
        The function that detects, and what detections.json says about the detector.
    """
    named = {options.kind: getattr(options, options.kind)}
    with contextlib.ExitStack() as stack:
        if options.kind == "server":
            from keras_frcnn.serving.client import Client

            limits = options.timeout, options.retries, options.concurrency
            detect, about = stack.enter_context(Client(options.server, *limits)).detect, {}
        else:
            load_tensorflow()
            opened_here = _saved_model if options.kind == "saved_model" else _checkpoint
            detect_one, about = opened_here(config, options)
            detect = functools.partial(_of_each, detect_one)
        if options.tile:
            detect = functools.partial(_by_tiles, detect, options.tile, options.overlap)
        yield detect, named | about


def _checkpoint(config, options):
    from keras_frcnn.models import precision
    from keras_frcnn.weights import checkpoint

    model = checkpoint.load(options.checkpoint, precision.for_use(config, say))
    about = {"class_names": model.class_names, "score_threshold": config.score_threshold}
    return model.detect, about


def _saved_model(config, options):
    del config  # a SavedModel has its own
    from keras_frcnn.serving.client import SavedModel

    model = SavedModel(options.saved_model)
    return model.detect, {"class_names": model.class_names}


def _of_each(detect_one: Callable, images: Iterable[Any]) -> Iterator[Any]:
    from keras_frcnn.data.images import files

    for image in images:
        try:
            array = files.to_image(image)
        except ValueError as error:
            yield error
        else:
            yield detect_one(array)


def _by_tiles(detect: Detect, tile: int, overlap: float, images: Iterable[Any]) -> Iterator[Any]:
    """Detects on the tiles of each image, and joins what is found on them."""
    load_tensorflow()
    import tensorflow as tf

    from keras_frcnn.ops import tiles

    join = tf.function(tiles.join, reduce_retracing=True)

    def detect_tiles(image):
        size = image.shape[:2]
        corners = tiles.corners(*size, tile, overlap).numpy()
        areas = np.concatenate([corners, corners + np.minimum(size, tile)], axis=1)
        cut = (image[y1:y2, x1:x2] for y1, x1, y2, x2 in areas.tolist())
        found = []
        for answer in detect(cut):
            if isinstance(answer, ValueError):
                return answer
            found.append(answer)
        counts = [len(one) for one in found]
        boxes, scores, labels = (
            np.concatenate([one[name] for one in found]) for name in ("boxes", "scores", "labels")
        )
        boxes = boxes + np.repeat(np.tile(corners, 2), counts, axis=0)
        areas = np.repeat(areas, counts, axis=0)
        arguments = boxes, scores, labels, areas, np.array(size), np.int32(len(labels))
        boxes, scores, rows = (value.numpy() for value in join(*map(tf.constant, arguments)))
        names = max((one.class_names for one in found), key=len)
        return ImageDetections(boxes, scores, labels[rows], names, image)

    yield from _of_each(detect_tiles, images)
