"""Settings of data augmentation, which changes training images at random."""

import dataclasses

from keras_frcnn.config.concern import Concern
from keras_frcnn.config.setting import FRACTION, PAPER, Limits, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Concern):
    """How training images are changed at random. By default they are flipped, as in the paper."""

    flip: str = setting(
        "horizontal",
        "Directions in which training images are mirrored at random. 'both' suits images without "
        "an upright direction, such as microscope and satellite images.",
        group="augmentation",
        choices=("none", "horizontal", "vertical", "both"),
        source=PAPER,
        common=True,
    )
    train_shorter_sides: tuple[int, ...] = setting(
        (),
        "Multi-scale training: the shorter side of each image is drawn at random from these sizes, "
        "and longer_side changes in proportion. Typical: four or five sizes between 0.7 and 1.2 "
        "times shorter_side. If empty, the shorter side is always shorter_side.",
        group="augmentation",
        limits=Limits(above=0),
    )
    scale_jitter: tuple[float, ...] = setting(
        (1.0, 1.0),
        "Images are scaled by a random factor between these two numbers. If the result is larger "
        "than usual, a random crop of the usual size is taken from it. Typical: 0.8,1.25, or 0.5,2 "
        "for long schedules. 1,1 leaves the scale unchanged.",
        group="augmentation",
        limits=Limits(at_least=0.1, at_most=10, lengths=(2,), order="ascending"),
    )
    crop_probability: float = setting(
        0.0,
        "Probability that an image is cropped at random before it is resized, which enlarges its "
        "objects. Typical: 0.5.",
        group="augmentation",
        limits=FRACTION,
    )
    crop_sides: tuple[float, ...] = setting(
        (0.5, 1.0),
        "Smallest and largest fraction of the image's height and width that a random crop keeps. "
        "The two sides are drawn independently, but the crop of a landscape image is a landscape "
        "image too.",
        group="augmentation",
        limits=Limits(at_least=0.1, at_most=1, lengths=(2,), order="ascending"),
    )
    crop_min_visible: float = setting(
        0.3,
        "An object that a crop cuts remains an object if at least this fraction of its area is "
        "left; its box is clipped to the crop. Otherwise it is ignored, so it counts neither as an "
        "object nor as background. This applies to random crops and to scale_jitter. No crop "
        "removes all objects of an image.",
        group="augmentation",
        limits=FRACTION,
    )
    brightness: float = setting(
        0.0,
        "Pixels are multiplied by a random factor between 1 minus this value and 1 plus this "
        "value. Typical: 0.2.",
        group="augmentation",
        limits=FRACTION,
    )
    contrast: float = setting(
        0.0,
        "The difference between each pixel and the image's mean colour is multiplied by a random "
        "factor between 1 minus this value and 1 plus this value. Typical: 0.2.",
        group="augmentation",
        limits=FRACTION,
    )
    saturation: float = setting(
        0.0,
        "The difference between each pixel and grey is multiplied by a random factor between 1 "
        "minus this value and 1 plus this value. Typical: 0.2.",
        group="augmentation",
        limits=FRACTION,
    )
    hue: float = setting(
        0.0,
        "Hues are rotated by up to this fraction of the colour circle, in either direction. "
        "Typical: 0.02. At 0.5 any hue can become any other.",
        group="augmentation",
        limits=Limits(at_least=0, at_most=0.5),
    )
    grey_probability: float = setting(
        0.0,
        "Probability that an image is converted to grey. Typical: 0.1.",
        group="augmentation",
        limits=FRACTION,
    )
