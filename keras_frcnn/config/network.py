"""Settings of the network: the backbone, the anchors, the pooling of regions and the heads."""

import dataclasses
import functools
from typing import Self

from keras_frcnn.config.concern import Concern, Problem
from keras_frcnn.config.setting import (
    CODE,
    FRACTION,
    NOT_NEGATIVE,
    PAPER,
    POSITIVE,
    Limits,
    setting,
)

# The function of every backbone. Adding a backbone takes one function, and one line here.
BACKBONES = {
    "vgg16": "keras_frcnn.backbones.vgg16:VGG16",
    "zf": "keras_frcnn.backbones.zf:ZF",
    "resnet50": "keras_frcnn.backbones.resnet:ResNet50",
    "resnet101": "keras_frcnn.backbones.resnet:ResNet101",
    "mobilenet_v3_large": "keras_frcnn.backbones.mobilenet:MobileNetV3Large",
    "vgg16_fpn": "keras_frcnn.backbones.vgg16:VGG16FPN",
    "resnet50_fpn": "keras_frcnn.backbones.resnet:ResNet50FPN",
    "resnet101_fpn": "keras_frcnn.backbones.resnet:ResNet101FPN",
    "mobilenet_v3_large_fpn": "keras_frcnn.backbones.mobilenet:MobileNetV3LargeFPN",
    "mobilenet_v3_large_fpn32": "keras_frcnn.backbones.mobilenet:MobileNetV3LargeFPN32",
}

PYRAMID_STRIDES = (4, 8, 16, 32, 64)
"""The strides of the levels P2 to P6 of a feature pyramid."""

# The backbones with a feature pyramid, and the strides of their levels.
PYRAMIDS = {
    **{name: PYRAMID_STRIDES for name in BACKBONES if name.endswith("_fpn")},
    "mobilenet_v3_large_fpn32": (32, 32, 64),
}

_POSITIVE_LIST = Limits(above=0, nonempty=True)

_model = functools.partial(setting, group="model")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkConfig(Concern):
    """The structure of the network, on which the number and the shapes of its weights depend."""

    backbone: str = _model(
        "vgg16",
        "Convolutional network that both stages share: the paper's VGG16 or ZF, the first four "
        "stages of a ResNet (the fifth is its box head), or MobileNetV3-Large. With '_fpn', all "
        "stages and a feature pyramid over them, which has defaults of its own for some settings; "
        "'_fpn32' is torchvision's pyramid of MobileNet, which needs its own scales. "
        "ResNets and MobileNet do not train batch normalisation and should start from pretrained "
        "weights.",
        choices=tuple(BACKBONES),
        common=True,
    )
    frozen_blocks: int = _model(
        -1,
        "Number of convolution blocks, counted from the input, that are not trained. -1 means 2 "
        "with pretrained weights or a start_checkpoint, as in the released code, and 0 otherwise.",
        limits=Limits(at_least=-1, at_most=5),
    )
    norm_epsilon: float = _model(
        -1.0,
        "Epsilon of the backbone's batch normalisation. -1 means that of keras.applications.",
        limits=Limits(at_least=-1, below=1),
    )
    preprocessing: str = _model(
        "backbone",
        "Normalisation of the pixels: 'backbone' is that of the backbone's weights in "
        "keras.applications; 'torch' is RGB with torchvision's mean and standard deviation; "
        "'detectron2' is BGR with its mean.",
        choices=("backbone", "torch", "detectron2"),
    )
    size_divisor: int = _model(
        1,
        "Zeros are added below and to the right of each image until its sides are multiples of "
        "this. The network treats them as a part of the image; boxes end at its border.",
        limits=POSITIVE,
    )
    symmetric_padding: bool = _model(
        False,
        "Whether MobileNet's convolutions with a stride pad all sides alike, as in torchvision, "
        "and not the far sides more, as in keras.applications.",
    )
    bottleneck_stride: str = _model(
        "1x1",
        "Convolution that carries the stride of a ResNet's stage: the first '1x1' of its first "
        "block, as in the paper of ResNet and in keras.applications, or the '3x3' after it, as in "
        "torchvision.",
        choices=("1x1", "3x3"),
    )
    pyramid_norm: bool = _model(
        False,
        "Whether each convolution of a feature pyramid is followed by batch normalisation, which "
        "is frozen.",
    )
    scales: tuple[float, ...] = _model(
        (128.0, 256.0, 512.0),
        "Scales of the anchors: the square roots of their areas, in pixels of the resized image. "
        "A feature pyramid divides them equally among its levels, the finest level first.",
        pyramid=(32.0, 64.0, 128.0, 256.0, 512.0),
        limits=_POSITIVE_LIST,
        source=PAPER,
        common=True,
    )
    ratios: tuple[float, ...] = _model(
        (0.5, 1.0, 2.0),
        "Aspect ratios of the anchors, height / width.",
        limits=_POSITIVE_LIST,
        source=PAPER,
        common=True,
    )
    anchor_offset: float = _model(
        0.5,
        "Distance of the first anchors' centre from the image's corner, in cells. torchvision and "
        "detectron2 use 0.",
        limits=FRACTION,
    )
    anchor_rounding: bool = _model(
        False,
        "Whether the corners of anchors around their centre are rounded to whole pixels, as in "
        "torchvision.",
    )
    anchor_stride: str = _model(
        "level",
        "Pixels from one anchor to the next: 'level' is the stride of the feature level; 'map' is "
        "the image's size divided by the map's and rounded down, as in torchvision.",
        choices=("level", "map"),
    )
    roi_pooling: str = _model(
        "max",
        "Pooling of the regions: 'max' is the paper's quantised max pooling; 'align' is RoIAlign, "
        "which works better on small objects.",
        choices=("max", "align"),
        pyramid="align",
    )
    pool_size: int = _model(
        7, "Number of cells along each side of a pooled region.", limits=POSITIVE
    )
    sampling_ratio: int = _model(
        2,
        "Number of samples that RoIAlign takes per cell, along each axis. 0 means as many as the "
        "cell covers cells of the feature map, rounded up, as in detectron2; with a feature "
        "pyramid, training is then slow.",
        limits=NOT_NEGATIVE,
    )
    roi_half_pixel: bool = _model(
        True,
        "Whether RoIAlign takes the centres of cells to lie half a cell from the map's corner. "
        "torchvision's detectors do not, and enlarge regions to at least one cell.",
    )
    rpn_channels: int = _model(
        0,
        "Width of the RPN's 3x3 convolutions. 0 means 512 for VGG16 and for ResNets without a "
        "feature pyramid, and 256 for the others. detectron2 uses as many as the feature map has.",
        limits=NOT_NEGATIVE,
    )
    rpn_convolutions: int = _model(
        1,
        "Number of 3x3 convolutions in the RPN's head.",
        limits=Limits(at_least=1, at_most=8),
        source=PAPER,
    )
    head_convolutions: tuple[int, ...] = _model(
        (),
        "Widths of 3x3 convolutions before the box head's dense layers. Each is followed by batch "
        "normalisation, which is frozen.",
        limits=Limits(above=0),
    )
    head_stride: int = _model(
        1,
        "Stride of a ResNet's last stage where it is the box head: 1 suits a pool_size of 7; 2, "
        "as in the paper of ResNet and in detectron2, one of 14.",
        limits=Limits(at_least=1, at_most=2),
    )
    head_units: tuple[int, ...] = _model(
        (4096, 4096),
        "Sizes of the box head's dense layers, fc6 and fc7 in the paper. ResNets without a "
        "feature pyramid have none.",
        pyramid=(1024, 1024),
        limits=_POSITIVE_LIST,
        source=PAPER,
    )
    head_dropout: float = _model(
        0.5,
        "Dropout rate after each dense layer of the box head during training.",
        limits=Limits(at_least=0, below=1),
        source=CODE,
        pyramid=0.0,
    )
    class_agnostic_boxes: bool = _model(
        False,
        "Whether all classes share the box head's box, instead of one box for each class.",
        source=PAPER,
    )
    box_delta_std: tuple[float, ...] = _model(
        (0.1, 0.1, 0.2, 0.2),
        "Numbers (ty, tx, th, tw) by which the box head's regression targets are divided.",
        limits=Limits(above=0, lengths=(4,)),
        source=CODE,
    )

    def contradictions(self) -> list[Problem]:
        """Returns the contradictions between the settings of the network."""
        is_resnet, levels = self.backbone.startswith("resnet"), self.num_levels
        rules = [
            (
                len(self.scales) % levels > 0,
                "{backbone}={backbone.value} has {levels} feature levels, so the number of "
                "{scales} must be a multiple of {levels}. Received: {scales.value}",
            ),
            (
                self.pyramid_norm and levels == 1,
                "{pyramid_norm} needs a feature pyramid. Received: {backbone}={backbone.value}",
            ),
            (
                self.bottleneck_stride != "1x1" and not is_resnet,
                "{bottleneck_stride} needs a ResNet. Received: {backbone}={backbone.value}",
            ),
            (
                self.symmetric_padding and not self.backbone.startswith("mobilenet"),
                "{symmetric_padding} needs a MobileNet. Received: {backbone}={backbone.value}",
            ),
            (
                not self.roi_half_pixel and self.roi_pooling != "align",
                "{roi_half_pixel}=false needs {roi_pooling}=align. Received: "
                "{roi_pooling}={roi_pooling.value}",
            ),
            (
                self.norm_epsilon >= 0 and self.backbone.startswith(("vgg16", "zf")),
                "{norm_epsilon} needs a backbone with batch normalisation. Received: "
                "{backbone}={backbone.value}",
            ),
            (
                bool(self.head_convolutions) and is_resnet and levels == 1,
                "{head_convolutions} needs a box head of its own, but that of "
                "{backbone}={backbone.value} is the last stage of the ResNet",
            ),
            (
                self.head_stride != 1 and not (is_resnet and levels == 1),
                "{head_stride} needs a ResNet without a feature pyramid. Received: "
                "{backbone}={backbone.value}",
            ),
        ]
        wrong = [self._problem(text, levels=levels) for is_wrong, text in rules if is_wrong]
        return [*super().contradictions(), *wrong]

    @property
    def num_levels(self) -> int:
        """The number of the backbone's feature levels."""
        return len(PYRAMIDS.get(self.backbone, (16,)))

    @property
    def level_scales(self) -> tuple:
        """The scales of the anchors: numbers for the only level, or a tuple for each level."""
        if self.num_levels == 1:
            return self.scales
        count = len(self.scales) // self.num_levels
        return tuple(self.scales[i : i + count] for i in range(0, len(self.scales), count))

    @property
    def anchors_per_cell(self) -> int:
        """The number of anchors at each cell of a feature map."""
        return len(self.scales) // self.num_levels * len(self.ratios)

    def with_backbone(self, name: str) -> Self:
        """Returns a copy with another backbone.

        Between backbones with and without a feature pyramid, settings that still have the default
        of the one kind get that of the other.
        """
        options = [option for option in self.options().values() if option.pyramid is not None]
        old, new = (
            {option.name: option.pyramid if is_pyramid else option.default for option in options}
            for is_pyramid in (self.backbone in PYRAMIDS, name in PYRAMIDS)
        )
        changes = {key: new[key] for key, value in old.items() if getattr(self, key) == value}
        return self.replace(**{**changes, "backbone": name})
