"""The pixels that a backbone expects: colour order, mean and scale."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The normalisation that a backbone's weights were trained with.

    A network input is ``(pixel - mean) / scale``, channel by channel, for 8-bit pixels in
    ``color_order``.

    Attributes:
        color_order: "rgb" or "bgr".
        mean: the mean of each channel, in ``color_order``, on the scale 0 to 255.
        scale: the divisor of each channel, in ``color_order``.
    """

    color_order: str
    mean: tuple[float, float, float]
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self):
        if self.color_order not in ("rgb", "bgr"):
            raise ValueError(f"color_order must be 'rgb' or 'bgr'. Received: {self.color_order!r}")
        if not all(value > 0 for value in self.scale):
            raise ValueError(f"scale must be positive. Received: {self.scale!r}")

    def divided_by(self, pixel_std: float) -> "Preprocessing":
        """Returns the same normalisation with every ``scale`` multiplied by ``pixel_std``."""
        return dataclasses.replace(self, scale=tuple(value * pixel_std for value in self.scale))


CAFFE = Preprocessing("bgr", (103.939, 116.779, 123.68))
"""ImageNet's mean in Caffe's order, without a division: VGG16, ZF and ResNets."""

CHOICES = {
    "torch": Preprocessing("rgb", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "detectron2": Preprocessing("bgr", (103.53, 116.28, 123.675)),
}
"""The normalisations that the setting ``preprocessing`` names: of torchvision and detectron2."""
