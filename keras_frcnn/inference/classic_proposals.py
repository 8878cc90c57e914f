"""Region proposals by Selective Search and EdgeBoxes, which need OpenCV and no network.

Needs ``pip install keras-frcnn[proposals]``. These methods take about a second per image, so
several processes share the work. The processes do not import TensorFlow, so they start fast and
need little memory; the caller reads the images and sends the pixels.
"""

import collections
import contextlib
import ctypes
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures

import numpy as np

METHODS = ("selective_search", "edge_boxes")

_Proposed = tuple[np.ndarray, np.ndarray]
_MAX_EDGE_BOXES = 10_000


def proposer(method: str, edge_model: str = "", limit: int = 2000) -> Callable[..., _Proposed]:
    """Creates a function that proposes regions of an image.

    Args:
        method: "selective_search" (Uijlings et al. 2013, in the fast mode that Fast R-CNN used) or
            "edge_boxes" (Zitnick and Dollar 2014).
        edge_model: the structured-edge model of EdgeBoxes, ``model.yml.gz`` from OpenCV's extra
            data.
        limit: the largest number of regions per image.

    Returns:
        A function that takes an image, uint8 [H, W, 3] RGB, and returns ``(boxes, scores)``:
        float32 [P, 4], yxyx pixels of the image, far edge exclusive, and float32 [P], best first.
        Equal images give equal results.

    Raises:
        ValueError: If OpenCV's contrib modules or the model are missing.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}. Received: {method!r}")
    cv2 = _opencv()
    cv2.setNumThreads(1)  # the processes already use all cores
    if method == "selective_search":
        return lambda image: _finish(*_selective_search(cv2, image), image, limit)
    if not os.path.isfile(edge_model):
        raise ValueError(
            "edge_boxes needs the structured-edge model, model.yml.gz from opencv_extra "
            f"(testdata/cv/ximgproc). Received: {edge_model!r}"
        )
    try:
        detector = cv2.ximgproc.createStructuredEdgeDetection(edge_model)
    except cv2.error as error:
        raise ValueError(f"{edge_model} is not a structured-edge model: {error}") from error
    return lambda image: _finish(*_edge_boxes(cv2, detector, image), image, limit)


@contextlib.contextmanager
def processes(
    count: int, *arguments
) -> Iterator[Callable[[Iterable[np.ndarray]], Iterator[_Proposed]]]:
    """Starts processes that propose regions in parallel.

    Args:
        count: number of processes; 0 starts one per core.
        *arguments: the arguments of ``proposer``.

    Yields:
        A function that takes an iterable of images and yields the boxes and scores of each, in
        order. It reads only a few images ahead.
    """
    count = count or len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(count, context, _start_process, arguments) as pool:

        def propose(images):
            running = collections.deque()
            for image in images:
                running.append(pool.submit(_propose, image))
                if len(running) > 2 * count:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()

        yield propose


_worker_state: dict[str, Callable[..., _Proposed]] = {}  # in each process, set by _start_process


def _start_process(*arguments):
    _worker_state["proposer"] = proposer(*arguments)


def _propose(image):
    return _worker_state["proposer"](image)


def _opencv():
    try:
        import cv2

        if not hasattr(cv2, "ximgproc"):
            raise ImportError("the installed OpenCV lacks ximgproc")
    except ImportError as error:
        raise ValueError(
            "Selective Search and EdgeBoxes need OpenCV with its contrib modules: "
            f"pip install 'keras-frcnn[proposals]' ({error})"
        ) from error
    return cv2


def _selective_search(cv2, image):
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(image[..., ::-1]))
    search.switchToSelectiveSearchFast()
    # C's rand() draws the order within a level of the hierarchy, and images share its state.
    ctypes.CDLL(None).srand(0)
    rectangles = np.asarray(search.process(), np.float32).reshape(-1, 4)
    return rectangles, -np.arange(len(rectangles), dtype=np.float32)  # ranks, for lack of scores


def _edge_boxes(cv2, detector, image):
    edges = detector.detectEdges(np.float32(image) / 255.0)
    orientation = detector.computeOrientation(edges)
    thin = detector.edgesNms(edges, orientation)
    boxes = cv2.ximgproc.createEdgeBoxes()
    boxes.setMaxBoxes(_MAX_EDGE_BOXES)
    rectangles, scores = boxes.getBoundingBoxes(thin, orientation)
    scores = [] if scores is None else scores  # None means no boxes
    return np.asarray(rectangles, np.float32).reshape(-1, 4), np.asarray(scores, float).ravel()


def _finish(rectangles, scores, image, limit):
    """Converts the best rectangles (x, y, width, height) to boxes that are clipped to the image."""
    best = np.argsort(-scores, kind="stable")[:limit]
    x, y, width, height = rectangles[best].T
    boxes = np.stack([y, x, y + height, x + width], axis=1)
    # Not by ops.boxes.clip, which would load TensorFlow in every process.
    boxes = np.clip(boxes, 0, np.float32(image.shape[:2] * 2))
    return boxes.astype(np.float32), scores[best].astype(np.float32)
