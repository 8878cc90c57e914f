"""The work of both sides: the same images, objects and weights, made from one seed.

It needs NumPy only, because the other framework may be installed in its own environment.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

NUM_CLASSES = 20
NUM_OBJECTS = 6  # in each image
VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # a block's channels and convolutions
# A bias towards background. If all classes were equally likely, every region would pass the score
# threshold as 20 objects, whereas a trained detector finds a few.
_BACKGROUND_BIAS = 3.0


@dataclasses.dataclass(frozen=True)
class Job:
    """One comparison.

    Attributes:
        what: ``inference`` or ``train_step``.
        precision: ``float32`` or ``bfloat16``.
        sizes: heights and widths of the images of one call after the other, from the start again.
        batch: images in a call.
        threads: number of threads of each side.
        keep_memory: whether both sides keep memory that they have freed.
        settings: ``keras_frcnn.Config.to_dict()``, from which both detectors are made.
    """

    what: str
    precision: str
    sizes: Sequence[tuple[int, int]]
    batch: int
    threads: int
    keep_memory: bool
    settings: dict[str, Any]

    @property
    def label(self) -> str:
        """The job in a few words."""
        height, width = self.sizes[0]
        sizes = f"{height}x{width}" if len(self.sizes) == 1 else "real sizes"
        return f"{self.what}, {self.precision}, {sizes}, batch {self.batch}"


def images(job: Job) -> np.ndarray:
    """Makes normalised images of noise, float32 [B, H, W, 3]: as large as the largest sizes."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((job.batch, *np.max(job.sizes, axis=0), 3), np.float32)


def objects(job: Job, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Makes boxes [B, G, 4] (yxyx pixels, inside the image) and labels [B, G] (0 to C - 1)."""
    rng = np.random.default_rng(2)
    sides = rng.uniform(0.1, 0.5, (job.batch, NUM_OBJECTS, 2)) * size
    corners = rng.uniform(0, 1, sides.shape) * (size - sides)
    boxes = np.concatenate([corners, corners + sides], axis=-1).astype(np.float32)
    return boxes, rng.integers(0, NUM_CLASSES, (job.batch, NUM_OBJECTS))


def weights(settings: dict[str, Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields kernels and biases in the order of the algorithm and the layout of Keras.

    First come convolutions [rows, columns, in, out]: those of the backbone, then the RPN's 3x3,
    objectness and deltas. Then come dense layers [in, out]: the hidden ones of the head, whose
    input is flattened as rows, columns, channels, then classes and boxes. Boxes are y-first.
    """
    rng = np.random.default_rng(3)

    def draw(*shape, std=None):
        kernel = rng.standard_normal(shape, np.float32)
        kernel *= std or np.sqrt(2 / np.prod(shape[:-1]))
        return kernel, np.zeros(shape[-1], np.float32)

    channels = 3
    for width, convolutions in VGG16:
        for _ in range(convolutions):
            yield draw(3, 3, channels, width)
            channels = width
    num_anchors = len(settings["scales"]) * len(settings["ratios"])
    yield draw(3, 3, channels, channels, std=0.01)
    yield draw(1, 1, channels, 2 * num_anchors, std=0.01)
    yield draw(1, 1, channels, 4 * num_anchors, std=0.01)
    width = settings["pool_size"] ** 2 * channels
    for units in settings["head_units"]:
        yield draw(width, units)
        width = units
    kernel, bias = draw(width, NUM_CLASSES + 1, std=0.01)
    bias[0] = _BACKGROUND_BIAS
    yield kernel, bias
    yield draw(width, 4 * (NUM_CLASSES + 1), std=0.001)
