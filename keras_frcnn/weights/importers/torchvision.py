"""torchvision's Faster R-CNN detectors: their settings, and where each of their tensors goes.

Source: torchvision/models/detection/faster_rcnn.py and the files it uses.
"""

import re
from collections.abc import Sequence

import numpy as np

from keras_frcnn.config import Config
from keras_frcnn.data.categories import COCO_CATEGORIES
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.weights.importers import layer_names
from keras_frcnn.weights.importers.tensor_file import Tensors

_NUM_IDS = 91  # COCO's category numbers up to 90, and background as 0; ten numbers have no class

# What all four have in common. Where a setting is not named, torchvision's value is the default of
# a feature pyramid here.
_COMMON = {
    "preprocessing": "torch",
    "shorter_side": 800,
    "longer_side": 1333,
    "resize_rounding": "down",
    "size_divisor": 32,
    "anchor_offset": 0.0,
    "anchor_rounding": True,
    "anchor_stride": "map",
    "roi_half_pixel": False,
    "norm_epsilon": 1e-5,
}
_RESNET = {"bottleneck_stride": "3x3"}
_MOBILENET = {
    "symmetric_padding": True,
    "scales": (32.0, 64.0, 128.0, 256.0, 512.0) * 3,
    "rpn_score_threshold": 0.05,
}
_V2 = {
    "pyramid_norm": True,
    "rpn_convolutions": 2,
    "head_convolutions": (256,) * 4,
    "head_units": (1024,),
}
_SMALL = {
    "shorter_side": 320,
    "longer_side": 640,
    "test_pre_nms_top_k": 150,
    "test_post_nms_top_k": 150,
}
MODELS = {
    # The published weights were trained without an epsilon.
    "fasterrcnn_resnet50_fpn": ("resnet50_fpn", {**_RESNET, "norm_epsilon": 0.0}),
    "fasterrcnn_resnet50_fpn_v2": ("resnet50_fpn", {**_RESNET, **_V2}),
    "fasterrcnn_mobilenet_v3_large_fpn": ("mobilenet_v3_large_fpn32", _MOBILENET),
    "fasterrcnn_mobilenet_v3_large_320_fpn": (
        "mobilenet_v3_large_fpn32",
        {**_MOBILENET, **_SMALL},
    ),
}
"""The backbone and the settings of each of torchvision's models."""

_MOBILENET_BLOCKS = 15
# Names of files that older versions of torchvision wrote.
_FORMER = (
    (re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)"), r"\1.0.\2"),
    (re.compile(r"(rpn\.head\.conv)\.(weight|bias)"), r"\1.0.0.\2"),
)


def config_of(model: str) -> Config:
    """Returns the settings of one of ``MODELS``."""
    backbone, settings = MODELS[model]
    return Config().with_backbone(backbone).replace(**{**_COMMON, **settings})


def fitting(tensors: Tensors) -> list[str]:
    """Returns which of ``MODELS`` the tensors could belong to, by their names."""
    if "backbone.body.0.0.weight" in tensors:
        return [name for name in MODELS if "mobilenet" in name]
    if "backbone.body.conv1.weight" in tensors:
        is_v2 = "roi_heads.box_head.0.0.weight" in tensors
        return [name for name in MODELS if "resnet" in name and name.endswith("_v2") == is_v2]
    return []


def class_names_of(tensors: Tensors) -> tuple[str, ...] | None:
    """Returns COCO's class names if the tensors are of a detector of these classes, else None."""
    is_coco = tensors.shape("roi_heads.box_predictor.cls_score.bias") == (_NUM_IDS,)
    return tuple(COCO_CATEGORIES.values()) if is_coco else None


def fill(model: FasterRCNN, tensors: Tensors) -> None:
    """Gives a detector the weights in the tensors.

    Of a detector of COCO's classes, the outputs of the ten numbers that no class has are left out.

    Raises:
        ValueError: if a tensor is missing or left over, or has another shape; it is named.
    """
    tensors.rename(_present_name)
    layers = {layer.name: layer for layer in model.backbone.leaf_layers()}
    is_resnet = model.config.backbone.startswith("resnet")
    for ours, theirs in _resnet_layers() if is_resnet else _mobilenet_layers():
        if ours in layers:  # not every block has every layer
            layer_names.fill(tensors, layers[ours], theirs)
    with_norm = model.config.pyramid_norm
    for number in range(4 if is_resnet else 2):
        for ours, theirs in (("lateral", "inner"), ("output", "layer")):
            name = f"backbone.fpn.{theirs}_blocks.{number}"
            tensors.fill_conv(layers[f"fpn_{ours}{number + 2}"], f"{name}.0")
            if with_norm:
                tensors.fill_norm(layers[f"fpn_{ours}{number + 2}_bn"], f"{name}.1")
    head = model.rpn.head
    for number, conv in enumerate([head.conv, *head.further_convs]):
        tensors.fill_conv(conv, f"rpn.head.conv.{number}.0")
    layer_names.fill_rpn_outputs(tensors, head, "rpn.head.cls_logits", "rpn.head.bbox_pred")
    _fill_box_head(model, tensors)
    tensors.check_all_taken()


def _present_name(name):
    if name.endswith(".num_batches_tracked"):  # of training alone
        return None
    for pattern, replacement in _FORMER:
        name = re.sub(rf"^{pattern.pattern}$", replacement, name)
    return name


def _resnet_layers():
    yield "conv1_conv", "backbone.body.conv1"
    yield "conv1_bn", "backbone.body.bn1"
    yield from layer_names.resnet_blocks(
        "backbone.body.layer{}.{}.", first=1, norm="bn{}", shortcut=("downsample.0", "downsample.1")
    )


def _mobilenet_layers():
    yield from _pair("conv", "0")
    for block in range(_MOBILENET_BLOCKS):
        ours = f"expanded_conv_{block}" if block else "expanded_conv"
        parts = ["expand", "depthwise", "squeeze_excite", "project"]
        if block == 0:
            parts.remove("expand")
        if block not in (3, 4, 5, *range(10, 15)):
            parts.remove("squeeze_excite")
        for number, part in enumerate(parts):
            theirs = f"{block + 1}.block.{number}"
            if part == "squeeze_excite":
                yield f"{ours}_{part}_conv", f"backbone.body.{theirs}.fc1"
                yield f"{ours}_{part}_conv_1", f"backbone.body.{theirs}.fc2"
            else:
                yield from _pair(f"{ours}_{part}", theirs)
    yield from _pair("conv_1", str(_MOBILENET_BLOCKS + 1))


def _pair(ours, theirs):
    yield ours, f"backbone.body.{theirs}.0"
    yield f"{ours}_bn", f"backbone.body.{theirs}.1"


def _fill_box_head(model, tensors):
    head = model.roi_head.box_head
    for number, (conv, norm) in enumerate(zip(head.convs, head.norms, strict=True)):
        tensors.fill_conv(conv, f"roi_heads.box_head.{number}.0")
        tensors.fill_norm(norm, f"roi_heads.box_head.{number}.1")
    # In a head with convolutions, the dense layer follows them and a layer that flattens.
    names = [str(len(head.convs) + 1)] if head.convs else ["fc6", "fc7"]
    channels = head.convs[-1].filters if head.convs else head.pooled_shape[-1]
    map_shape = (*head.pooled_shape[:2], channels)
    for layer, name in zip(head.hidden, names, strict=True):
        tensors.fill_dense(layer, f"roi_heads.box_head.{name}", map_shape)
        map_shape = None
    rows = _rows_of(model.class_names, tensors)
    layer_names.fill_box_outputs(tensors, head, "roi_heads.box_predictor", rows, rows)


def _rows_of(class_names: Sequence[str], tensors: Tensors) -> np.ndarray:
    """Returns the row of each of our outputs among theirs, background first."""
    if class_names_of(tensors) == tuple(class_names):
        return np.array([0, *COCO_CATEGORIES])
    return np.arange(len(class_names) + 1)
