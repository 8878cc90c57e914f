"""The work that both sides do: the same images, objects and weights, made from one seed.

Needs NumPy only, as the other framework may live in an environment of its own.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

NUM_CLASSES = 20
OBJECTS = 6  # in each image
VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # a block's channels and convolutions
# Made background: with equal classes every region would pass the score threshold as 20 objects; a
# trained detector finds a few.
_BACKGROUND_BIAS = 3.0


@dataclasses.dataclass(frozen=True)
class Job:
    """One comparison.

    Attributes:
        what: ``inference`` or ``train_step``.
        precision: ``float32`` or ``bfloat16``.
        size: height and width of the images.
        batch: images a call.
        threads: of each side.
        keep_memory: whether both may keep memory that they have freed.
        settings: ``keras_frcnn.Config.to_dict()``; every figure of the detector is taken from it.
    """

    what: str
    precision: str
    size: tuple[int, int]
    batch: int
    threads: int
    keep_memory: bool
    settings: dict[str, Any]

    @property
    def label(self) -> str:
        """The job in words."""
        height, width = self.size
        return f"{self.what}, {self.precision}, {height}x{width}, batch {self.batch}"


def images(job: Job) -> np.ndarray:
    """Normalised images [B, H, W, 3] float32: noise."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((job.batch, *job.size, 3), np.float32)


def objects(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """True boxes [B, G, 4] (yxyx pixels, inside the image) and labels [B, G], 0..C-1."""
    rng = np.random.default_rng(2)
    sides = rng.uniform(0.1, 0.5, (job.batch, OBJECTS, 2)) * job.size
    corners = rng.uniform(0, 1, sides.shape) * (job.size - sides)
    boxes = np.concatenate([corners, corners + sides], axis=-1).astype(np.float32)
    return boxes, rng.integers(0, NUM_CLASSES, (job.batch, OBJECTS))


def weights(settings: dict[str, Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Kernels and biases in the order of the algorithm and the layout of Keras, one at a time.

    Convolutions [rows, columns, in, out] of the backbone, then of the RPN: 3x3, objectness, deltas;
    dense layers [in, out]: the head's hidden ones (their input flattened as rows, columns,
    channels), classes, boxes. Boxes are y-first.
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
