"""Regions from before there were RPNs: Selective Search and EdgeBoxes, by OpenCV's modules.

Needs ``pip install keras-frcnn[proposals]``. TensorFlow is not imported: these methods take a
second an image, and the processes that share the work should start fast.
"""

import ctypes
import os
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps

from keras_frcnn.data.dataset import Record
from keras_frcnn.data.images.spans import open_image

METHODS = ("selective_search", "edge_boxes")

_Proposed = tuple[np.ndarray, np.ndarray]
_EDGE_BOXES_AT_MOST = 10_000


def proposer(method: str, edge_model: str = "", limit: int = 2000) -> Callable[..., _Proposed]:
    """Makes the function that proposes regions by a method.

    Args:
        method: "selective_search" (Uijlings et al. 2013, in its fast mode, as Fast R-CNN's files
            have it) or "edge_boxes" (Zitnick and Dollar 2014).
        edge_model: EdgeBoxes' model of structured edges, ``model.yml.gz`` of OpenCV's extra data.
        limit: regions an image, at most.

    Returns:
        A function from an image, uint8 [H, W, 3] RGB, to ``(boxes [P, 4], scores [P])``: float32,
        yxyx pixels of the image, far edge exclusive, the best first. Equal images give equal
        answers.

    Raises:
        ValueError: if OpenCV's modules or the model are missing.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}. Received: {method!r}")
    cv2 = _opencv()
    cv2.setNumThreads(1)  # the processes beside this one are the parallel part
    if method == "selective_search":
        return lambda image: _finish(*_selective_search(cv2, image), image, limit)
    if not os.path.isfile(edge_model):
        raise ValueError(
            "edge_boxes needs the model of structured edges, model.yml.gz of opencv_extra "
            f"(testdata/cv/ximgproc). Received: {edge_model!r}"
        )
    try:
        detector = cv2.ximgproc.createStructuredEdgeDetection(edge_model)
    except cv2.error as error:
        raise ValueError(f"{edge_model} is no model of structured edges: {error}") from error
    return lambda image: _finish(*_edge_boxes(cv2, detector, image), image, limit)


_worker: dict[str, Callable[..., _Proposed]] = {}  # of this process, by start_worker


def start_worker(*arguments) -> None:
    """Makes this process one that ``propose`` can be called in; arguments as for ``proposer``."""
    _worker["proposer"] = proposer(*arguments)


def propose(record: Record) -> tuple[str | int, np.ndarray, np.ndarray]:
    """Proposes regions of a record's image; returns its id, boxes and scores."""
    with open_image(record.path, record.span) as file, Image.open(file) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    return record.image_id, *_worker["proposer"](pixels)


def _opencv():
    try:
        import cv2

        if not hasattr(cv2, "ximgproc"):
            raise ImportError("the OpenCV that is installed lacks ximgproc")
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
    # The order within a level of the hierarchy is drawn by C's rand(), which all images share.
    ctypes.CDLL(None).srand(0)
    rectangles = np.asarray(search.process(), np.float32).reshape(-1, 4)
    return rectangles, -np.arange(len(rectangles), dtype=np.float32)  # there are ranks only


def _edge_boxes(cv2, detector, image):
    edges = detector.detectEdges(np.float32(image) / 255.0)
    orientation = detector.computeOrientation(edges)
    thin = detector.edgesNms(edges, orientation)
    boxes = cv2.ximgproc.createEdgeBoxes()
    boxes.setMaxBoxes(_EDGE_BOXES_AT_MOST)
    rectangles, scores = boxes.getBoundingBoxes(thin, orientation)
    scores = [] if scores is None else scores  # of none at all
    return np.asarray(rectangles, np.float32).reshape(-1, 4), np.asarray(scores, float).ravel()


def _finish(rectangles, scores, image, limit):
    """Turns the best rectangles (x, y, width, height) into boxes within the image."""
    order = np.argsort(-scores, kind="stable")[:limit]
    x, y, width, height = rectangles[order].T
    boxes = np.stack([y, x, y + height, x + width], axis=1)
    rows, columns = image.shape[:2]
    boxes = np.clip(boxes, 0, np.array([rows, columns] * 2, np.float32))
    return boxes.astype(np.float32), scores[order].astype(np.float32)
