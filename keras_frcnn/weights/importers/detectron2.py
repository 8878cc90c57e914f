"""detectron2's Faster R-CNN detectors: their settings, and where each of their tensors goes.

Source: detectron2/config/defaults.py, the files in configs/COCO-Detection and
configs/PascalVOC-Detection, and the modules that they name.
"""

import numpy as np

from keras_frcnn.config import Config
from keras_frcnn.data.categories import COCO_CATEGORIES, VOC_CLASSES
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.weights.importers import layer_names
from keras_frcnn.weights.importers.tensor_file import Tensors

# Where a setting is not named, detectron2's value is the default of a feature pyramid here.
_COMMON = {
    "preprocessing": "detectron2",
    "shorter_side": 800,
    "longer_side": 1333,
    "resize_filter": "pillow",
    "bottleneck_stride": "1x1",
    "norm_epsilon": 1e-5,
    "anchor_offset": 0.0,
    "sampling_ratio": 0,
}
_C4 = {
    "scales": (32.0, 64.0, 128.0, 256.0, 512.0),
    "rpn_channels": 1024,
    "min_size": 0.0,
    "test_post_nms_top_k": 1000,
    "roi_pooling": "align",
    "pool_size": 14,
    "head_stride": 2,
    "roi_num_samples": 512,
    "nms_iou_threshold": 0.5,
}
_FPN = {"size_divisor": 32}
MODELS = {
    "faster_rcnn_R_50_C4": ("resnet50", _C4),
    "faster_rcnn_R_101_C4": ("resnet101", _C4),
    "faster_rcnn_R_50_FPN": ("resnet50_fpn", _FPN),
    "faster_rcnn_R_101_FPN": ("resnet101_fpn", _FPN),
}
"""The backbone and the settings of each of detectron2's models, by the names of its configurations
without the schedule.
"""

_LAST_OF_101 = "res4.22.conv1.weight"
_CLASSES = {80: tuple(COCO_CATEGORIES.values()), 20: VOC_CLASSES}
_BOX_OUTPUTS = "roi_heads.box_predictor"
# What files of older versions also hold, which is no weight.
_PIXELS = "pixel_mean", "pixel_std"
_ANCHORS = "proposal_generator.anchor_generator.cell_anchors."
_TOLERANCE = 1e-2  # pixels


def config_of(model: str) -> Config:
    """Returns the settings of one of ``MODELS``."""
    backbone, settings = MODELS[model]
    return Config().with_backbone(backbone).replace(**{**_COMMON, **settings})


def fitting(tensors: Tensors) -> list[str]:
    """Returns which of ``MODELS`` the tensors could belong to, by their names."""
    for start, end in (("backbone.", "C4"), ("backbone.bottom_up.", "FPN")):
        if f"{start}stem.conv1.weight" in tensors:
            depth = 101 if f"{start}{_LAST_OF_101}" in tensors else 50
            return [f"faster_rcnn_R_{depth}_{end}"]
    return []


def class_names_of(tensors: Tensors) -> tuple[str, ...] | None:
    """Returns COCO's 80 or VOC's 20 class names if the tensors are of as many classes, else
    None.
    """
    (count,) = tensors.shape(f"{_BOX_OUTPUTS}.cls_score.bias")[:1] or (0,)
    return _CLASSES.get(count - 1)


def fill(model: FasterRCNN, tensors: Tensors) -> None:
    """Gives a detector the weights in the tensors.

    Raises:
        ValueError: if a tensor is missing or left over, or has another shape; it is named. If the
            file tells that the detector has other anchors or normalises pixels otherwise.
    """
    _check_settings(model, tensors)
    layers = {layer.name: layer for layer in model.backbone.leaf_layers()}
    has_pyramid = len(model.backbone.strides) > 1
    start = "backbone.bottom_up." if has_pyramid else "backbone."
    names = [("conv1_conv", f"{start}stem.conv1"), ("conv1_bn", f"{start}stem.conv1.norm")]
    block = {"first": 2, "norm": "conv{}.norm", "shortcut": ("shortcut", "shortcut.norm")}
    stages = (2, 3, 4, 5) if has_pyramid else (2, 3, 4)
    names += layer_names.resnet_blocks(f"{start}res{{}}.{{}}.", **block, stages=stages)
    head = model.roi_head.box_head
    if has_pyramid:
        for level in range(2, 6):
            for part in ("lateral", "output"):
                names.append((f"fpn_{part}{level}", f"backbone.fpn_{part}{level}"))
        for number, layer in enumerate(head.hidden, start=1):
            map_shape = head.pooled_shape if number == 1 else None
            tensors.fill_dense(layer, f"roi_heads.box_head.fc{number}", map_shape)
    else:
        layers |= {layer.name: layer for layer in head.stage.layers}
        names += layer_names.resnet_blocks("roi_heads.res{}.{}.", **block, stages=(5,))
    for ours, theirs in names:
        if ours in layers:  # not every block has every layer
            layer_names.fill(tensors, layers[ours], theirs)
    rpn = "proposal_generator.rpn_head"
    tensors.fill_conv(model.rpn.head.conv, f"{rpn}.conv")
    # Ours are ordered by ratio, then scale; theirs by scale, then ratio.
    generator = model.rpn.anchor_generators[0]
    shape = len(generator.scales), len(generator.ratios)
    order = np.arange(generator.num_anchors).reshape(shape).T.ravel()
    outputs = f"{rpn}.objectness_logits", f"{rpn}.anchor_deltas"
    layer_names.fill_rpn_outputs(tensors, model.rpn.head, *outputs, order)
    # Theirs have background last, and no deltas for it.
    classes = np.arange(len(model.class_names))
    rows = np.array([len(classes), *classes]), np.array([-1, *classes])
    layer_names.fill_box_outputs(tensors, head, _BOX_OUTPUTS, *rows)
    tensors.check_all_taken()


def _check_settings(model, tensors):
    """Compares what a file says about pixels and anchors, and drops it."""
    preprocessing = model.backbone.preprocessing
    for name, expected in zip(_PIXELS, (preprocessing.mean, preprocessing.scale), strict=True):
        _check(tensors, name, np.reshape(expected, (3, 1, 1)))
    for level, generator in enumerate(model.rpn.anchor_generators):
        areas, ratios = np.square(generator.scales), np.array(generator.ratios)
        widths = np.sqrt(areas[:, np.newaxis] / ratios).ravel()
        sides = np.stack([widths, np.tile(ratios, len(areas)) * widths], axis=1)
        _check(tensors, f"{_ANCHORS}{level}", np.concatenate([-sides, sides], axis=1) / 2)


def _check(tensors, name, expected):
    if name not in tensors:
        return
    found = tensors.take(name, expected.shape)
    if not np.allclose(found, expected, rtol=0, atol=_TOLERANCE):
        raise ValueError(
            f"{tensors.path}: {name} must be that of detectron2's published models, "
            f"{np.round(expected, 2).ravel().tolist()}. Received: "
            f"{np.round(found, 2).ravel().tolist()}"
        )
