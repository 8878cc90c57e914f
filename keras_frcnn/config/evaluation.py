"""Settings of evaluation: how often it happens, at which image sizes, and what is shown."""

import dataclasses

from keras_frcnn.config.concern import Concern
from keras_frcnn.config.setting import NOT_NEGATIVE, POSITIVE, Limits, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Concern):
    """How a detector is evaluated."""

    eval_every: int = setting(
        5000,
        "Number of steps between two evaluations. A checkpoint is written before each evaluation. "
        "Every run ends with an evaluation; 0 makes it the only one.",
        group="watching",
        limits=NOT_NEGATIVE,
        common=True,
    )
    num_images: int = setting(
        8,
        "Number of evaluation images that are shown in TensorBoard.",
        group="watching",
        limits=NOT_NEGATIVE,
        former=("num_pictures",),
    )
    eval_loss_images: int = setting(
        100,
        "Largest number of evaluation images on which each evaluation also measures the losses, "
        "always the same images. This takes about as long as detecting on them. 0 measures none.",
        group="watching",
        limits=NOT_NEGATIVE,
    )
    test_batch_size: int = setting(
        1,
        "Number of images per batch and device in evaluation and in writing proposals. Larger "
        "batches can be faster on a GPU.",
        group="watching",
        limits=POSITIVE,
    )
    test_shorter_sides: tuple[int, ...] = setting(
        (),
        "Multi-scale testing: evaluation detects objects at each of these shorter sides, with "
        "longer_side in proportion, and suppresses duplicates among all detections. This does not "
        "apply to detection on new images or to exported models. Typical: 480,576,688,864,1200. "
        "If empty, only shorter_side is used.",
        group="detections",
        limits=Limits(above=0),
    )
