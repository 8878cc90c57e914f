"""The detections of images, as ``FasterRCNN.detect`` returns them.

One class holds the detections of an image wherever the package handles them. It is a sequence of
detections, and its columns can be asked for by name, as in a dict.
"""

import dataclasses
import numbers
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_frcnn.data.images.files import to_image

_COLUMNS = ("boxes", "scores", "labels")
NAMES = (*_COLUMNS, "num_detections")


def check_threshold(score_threshold: Any) -> None:
    """Raises a ValueError if a threshold is not a number between 0 and 1."""
    if not (isinstance(score_threshold, numbers.Real) and 0 <= score_threshold <= 1):
        raise ValueError(
            f"score_threshold must be a number between 0 and 1. Received: {score_threshold!r}"
        )


class Detection(NamedTuple):
    """One detected object.

    Attributes:
        box: float32 [4], yxyx pixels of the image, far edge exclusive.
        score: from 0 to 1.
        label: from 0.
        class_name: the name of the label.
    """

    box: np.ndarray
    score: float
    label: int
    class_name: str


class _Named:
    """What a dict of the arrays ``NAMES`` can do, beside giving them for a name in brackets."""

    def keys(self) -> tuple[str, ...]:
        return NAMES

    def values(self) -> list[Any]:
        return [self[name] for name in NAMES]

    def items(self) -> list[tuple[str, Any]]:
        return [(name, self[name]) for name in NAMES]

    def __contains__(self, name: Any) -> bool:
        return isinstance(name, str) and name in NAMES


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ImageDetections(_Named):
    """The detections of one image, best first.

    ``len`` counts them, and iterating or an integer in brackets gives a ``Detection``. A slice, a
    mask or indices in brackets give fewer of them: ``found[found.scores > 0.5]``. A column's name
    in brackets gives the column, as in a dict: ``found["boxes"]``.

    Attributes:
        boxes: float32 [K, 4], yxyx pixels of the image as displayed, far edge exclusive.
        scores: float32 [K].
        labels: int32 [K], from 0.
        class_names: the names of the labels.
        image: the image as it was given: a file name, a record, an array or an image of Pillow.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    class_names: Sequence[str]
    image: Any = None

    @property
    def num_detections(self) -> int:
        return len(self)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        return map(self._detection, range(len(self)))

    def __getitem__(self, key):
        if isinstance(key, str):
            if key not in NAMES:
                raise KeyError(key)
            return getattr(self, key)
        try:
            index = operator.index(key)
        except TypeError:  # a slice, a mask or indices
            chosen = {name: self[name][key] for name in _COLUMNS}
            return dataclasses.replace(self, **chosen)
        return self._detection(range(len(self))[index])

    def __repr__(self) -> str:
        found = [f"{one.class_name} {one.score:.2f}" for one in self[:5]]
        more = f", and {len(self) - 5} more" if len(self) > 5 else ""
        return f"<{len(self)} detections: {', '.join(found) or 'none'}{more}>"

    def _detection(self, row):
        label = int(self.labels[row])
        score = float(self.scores[row])
        return Detection(self.boxes[row], score, label, self.class_names[label])

    def draw(self, score_threshold: float = 0.0) -> Image.Image:
        """Draws the detections on their image. A file is read again for it.

        Args:
            score_threshold: detections with a lower score are not drawn. Default 0: all are drawn.

        Returns:
            An RGB image of Pillow, with each box in the color of its class, its class name and its
            score.

        Raises:
            ValueError: if the image is not known or can no longer be read, or the threshold is not
                between 0 and 1.
        """
        # Drawing is not needed for detection, so it is only imported here.
        from keras_frcnn.drawing.detections import draw_detections

        check_threshold(score_threshold)
        if self.image is None:
            raise ValueError("draw needs the image, which these detections do not know")
        columns = self.boxes, self.labels, self.scores
        image = to_image(self.image)
        drawn = draw_detections(image, *columns, self.class_names, score_threshold)
        return Image.fromarray(drawn)

    def to_coco(
        self,
        image_id: int | str,
        category_ids: Sequence[int] | Mapping[str, int] | None = None,
    ) -> list[dict[str, Any]]:
        """Returns the detections as rows of COCO's results JSON, in plain Python numbers.

        Args:
            image_id: the image's id in the data set.
            category_ids: the category of each class, in the order of ``class_names`` or by class
                name. Default: 1 for the first class, 2 for the next one, and so on.

        Returns:
            For each detection ``{"image_id", "category_id", "bbox": [x, y, width, height],
            "score"}``, with the box in pixels.

        Raises:
            ValueError: if ``category_ids`` lacks a class.
            TypeError: if a category is not a whole number.
        """
        if category_ids is None:
            category_ids = range(1, len(self.class_names) + 1)
        if isinstance(category_ids, Mapping):
            category_ids = [category_ids[n] for n in self.class_names if n in category_ids]
        if len(category_ids) != len(self.class_names):
            raise ValueError(
                f"category_ids must give one id for each of the classes "
                f"{', '.join(self.class_names)}. Received: {len(category_ids)} of them"
            )
        y1, x1, y2, x2 = self.boxes.astype(np.float64).T
        bboxes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=-1).tolist()
        return [
            {
                "image_id": image_id.item() if isinstance(image_id, np.generic) else image_id,
                "category_id": operator.index(category_ids[one.label]),
                "bbox": bbox,
                "score": one.score,
            }
            for one, bbox in zip(self, bboxes, strict=True)
        ]

    def to_supervision(self) -> Any:
        """Returns the detections as a ``supervision.Detections``, for its trackers and drawings.

        The boxes are xyxy, and ``data["class_name"]`` has the class names.

        Raises:
            ImportError: if supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                "to_supervision needs the package supervision: pip install supervision"
            ) from error
        return supervision.Detections(
            xyxy=self.boxes[:, [1, 0, 3, 2]],
            confidence=self.scores,
            class_id=self.labels.astype(int),
            data={"class_name": np.array([one.class_name for one in self], str)},
        )


class DetectionBatch(_Named, Sequence):
    """The detections of several images: a sequence with ``ImageDetections`` for each of them.

    A name in brackets gives the arrays of all images together, in which the detections of an image
    are followed by padding rows: ``boxes`` [B, K, 4] (padding 0), ``scores`` [B, K] (padding 0),
    ``labels`` [B, K] (padding -1) and ``num_detections`` [B].

    Args:
        padded: these arrays, by name.
        class_names: the names of the labels.
        images: the images, as ``ImageDetections`` holds them.
    """

    def __init__(
        self,
        padded: Mapping[str, np.ndarray],
        class_names: Sequence[str],
        images: Sequence[Any],
    ):
        self._padded = {name: padded[name] for name in NAMES}
        self._images = []
        for row, image in enumerate(images):
            count = padded["num_detections"][row]
            columns = (padded[name][row, :count] for name in _COLUMNS)
            self._images.append(ImageDetections(*columns, tuple(class_names), image))

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key):
        return self._padded[key] if isinstance(key, str) else self._images[key]

    def __repr__(self) -> str:
        return repr(self._images)
