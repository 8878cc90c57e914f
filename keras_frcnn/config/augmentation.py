"""Settings of data augmentation: how training images are changed at random."""

import dataclasses

from keras_frcnn.config.concern import Concern
from keras_frcnn.config.setting import FRACTION, PAPER, Limits, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Concern):
    """How training images are changed at random. By default they are flipped, as in the paper."""

    flip: str = setting(
        "horizontal",
        "Mirror training images at random. 'both' suits images without an upright direction, such "
        "as those of microscopes and satellites.",
        group="augmentation",
        choices=("none", "horizontal", "vertical", "both"),
        source=PAPER,
        common=True,
    )
    train_shorter_sides: tuple[int, ...] = setting(
        (),
        "Multi-scale training: each image is scaled to one of these sizes, drawn at random, "
        "instead of shorter_side, and longer_side changes in proportion. Typical: four or five "
        "sizes between 0.7 and 1.2 times shorter_side. Empty: always shorter_side.",
        group="augmentation",
        limits=Limits(above=0),
    )
    scale_jitter: tuple[float, ...] = setting(
        (1.0, 1.0),
        "Images are enlarged by a factor drawn between these two numbers. If the result is larger "
        "than usual, a part of the usual size is cropped from it at random. Typical: 0.8,1.25; "
        "for long schedules 0.5,2. 1,1 leaves the scale alone.",
        group="augmentation",
        limits=Limits(at_least=0.1, at_most=10, lengths=(2,), order="ascending"),
    )
    crop_probability: float = setting(
        0.0,
        "Share of the images that are cropped at random before they are resized, which enlarges "
        "their objects. Typical: 0.5.",
        group="augmentation",
        limits=FRACTION,
    )
    crop_sides: tuple[float, ...] = setting(
        (0.5, 1.0),
        "Smallest and largest share of the image's height and width that a random crop keeps. The "
        "two sides are drawn independently, but landscape images stay landscape.",
        group="augmentation",
        limits=Limits(at_least=0.1, at_most=1, lengths=(2,), order="ascending"),
    )
    crop_min_visible: float = setting(
        0.3,
        "An object that a crop cuts stays an object if at least this share of its area is left; "
        "its box is cut to the crop. Below this share it is ignored, which means neither object "
        "nor background. This holds for random crops and for scale_jitter. No crop removes all "
        "objects of an image.",
        group="augmentation",
        limits=FRACTION,
    )
    brightness: float = setting(
        0.0,
        "Pixels are multiplied by a factor drawn between 1 minus this and 1 plus this. Typical: "
        "0.2.",
        group="augmentation",
        limits=FRACTION,
    )
    contrast: float = setting(
        0.0,
        "The distance of each pixel to the image's mean colour is multiplied by a factor drawn "
        "between 1 minus this and 1 plus this. Typical: 0.2.",
        group="augmentation",
        limits=FRACTION,
    )
    saturation: float = setting(
        0.0,
        "The distance of each pixel to grey is multiplied by a factor drawn between 1 minus this "
        "and 1 plus this. Typical: 0.2.",
        group="augmentation",
        limits=FRACTION,
    )
    hue: float = setting(
        0.0,
        "Colours are rotated by up to this share of the colour circle, in either direction. "
        "Typical: 0.02. At 0.5 any colour can become any other.",
        group="augmentation",
        limits=Limits(at_least=0, at_most=0.5),
    )
    grey_probability: float = setting(
        0.0,
        "Share of the images that are turned to grey. Typical: 0.1.",
        group="augmentation",
        limits=FRACTION,
    )
