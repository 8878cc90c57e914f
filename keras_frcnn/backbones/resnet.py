"""ResNets (He et al. 2016, "Deep Residual Learning for Image Recognition")."""

import functools

import keras

from keras_frcnn.backbones import applications, feature_pyramid, pretrained
from keras_frcnn.backbones.backbone import Backbone, PretrainedWeights
from keras_frcnn.data.images.preprocessing import CAFFE

PREPROCESSING = CAFFE
STRIDES = (16,)
_HALVING = [f"conv{stage}_block1" for stage in (3, 4, 5)]  # the blocks that halve the map
_STRIDED_3X3 = [f"{block}_2_conv" for block in _HALVING]


def ResNet50(weights=None, frozen_blocks=0, dtype=None, name="backbone", **options) -> Backbone:
    """Makes the first four stages of ResNet-50, stride 16, with the fifth as head network.

    Batch normalisation is frozen. The fifth stage has no stride here, unless ``head_stride`` is 2.
    So it returns 7 x 7 cells for 7 x 7 pooled cells, as it does with a stride for 14 x 14 (He et
    al. 2016, section 4 and its appendix on detection).

    Args:
        weights: None (random), "imagenet", or a weights file in keras.applications' format.
        frozen_blocks: how many of the four stages are not trained, counted from the image.
        dtype: a Keras dtype policy or its name. None: the global policy.
        name: the name of the layer.
        **options: ``bottleneck_stride``, the convolution that has the stride of a stage: "1x1", as
            in the paper and in keras.applications, or "3x3", also known as ResNet v1.5;
            ``norm_epsilon``, which replaces the epsilon of batch normalisation; and
            ``head_stride``, the stride of the fifth stage, 1 or 2.

    Returns:
        A ``Backbone`` with one level of 1024 channels; ``make_head`` gives the fifth stage.
    """
    return _resnet("ResNet50", False, weights, frozen_blocks, dtype, name, **options)


def ResNet101(weights=None, frozen_blocks=0, dtype=None, name="backbone", **options) -> Backbone:
    """Makes the first four stages of ResNet-101: as ``ResNet50``, with 23 blocks in the fourth."""
    return _resnet("ResNet101", False, weights, frozen_blocks, dtype, name, **options)


def ResNet50FPN(weights=None, frozen_blocks=0, dtype=None, name="backbone", **options) -> Backbone:
    """Makes the five stages of ResNet-50 with a feature pyramid on stages 2 to 5.

    Args:
        weights, frozen_blocks, dtype, name: as for ``ResNet50``, with five stages.
        **options: those of ``ResNet50`` but ``head_stride``, and ``pyramid_norm``, whether each
            convolution of the pyramid is followed by batch normalisation, which is frozen.

    Returns:
        A ``Backbone`` with the levels P2 to P6, of strides 4 to 64 and 256 channels.
    """
    return _resnet("ResNet50", True, weights, frozen_blocks, dtype, name, **options)


def ResNet101FPN(weights=None, frozen_blocks=0, dtype=None, name="backbone", **options) -> Backbone:
    """Makes ResNet-101 with a feature pyramid: as ``ResNet50FPN``, with 23 blocks in stage 4."""
    return _resnet("ResNet101", True, weights, frozen_blocks, dtype, name, **options)


def _resnet(
    application,
    has_pyramid,
    weights,
    frozen_blocks,
    dtype,
    name,
    bottleneck_stride="1x1",
    norm_epsilon=None,
    pyramid_norm=False,
    head_stride=1,
):
    original = getattr(keras.applications, application)(include_top=False, weights=None)
    label = application.lower()
    ends = {layer.name.partition("_")[0]: layer.output for layer in original.layers}
    change = functools.partial(_changed, norm_epsilon=norm_epsilon)
    in_3x3 = bottleneck_stride == "3x3"
    outputs = [ends[f"conv{n}"] for n in (2, 3, 4, 5)] if has_pyramid else ends["conv4"]
    strided = (lambda settings: _with_stride_in_3x3(change(settings))) if in_3x3 else change
    call = _padded_call if in_3x3 else None
    network = applications.rebuild(
        keras.Model(original.input, outputs, name=label), dtype, strided, call
    )
    if has_pyramid:
        network = feature_pyramid.with_pyramid(network, norm=pyramid_norm, dtype=dtype)
        arguments = feature_pyramid.BACKBONE_ARGUMENTS
    else:
        stage5 = keras.Model(outputs, original.output, name=f"{label}_stage5")
        if head_stride == 1:
            head = applications.rebuild(stage5, dtype, lambda s: _without_stride(change(s)))
        else:
            head = applications.rebuild(stage5, dtype, strided, call)
        arguments = {"strides": STRIDES, "rpn_channels": 512, "head_network": head}
    backbone = Backbone(
        network,
        preprocessing=PREPROCESSING,
        # Without a pyramid the fifth group is empty: that stage is the head, but settings may
        # count it.
        freeze_groups=applications.groups_by_prefix(network, [f"conv{n}_" for n in range(1, 6)]),
        frozen_blocks=frozen_blocks,
        pretrained=PretrainedWeights(
            application,
            f"{pretrained.KERAS_URL}/resnet/{label}_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        name=name,
        dtype=dtype,
        **arguments,
    )
    if weights is not None:
        pretrained.load_pretrained(backbone, weights)
    return backbone


def _changed(settings, norm_epsilon):
    """Sets the epsilon of batch normalisation, and scales down the branch that each block adds, so
    that random weights keep features small.
    """
    if settings["name"].endswith("_3_bn"):
        settings["gamma_initializer"] = keras.initializers.Constant(0.25)
    if norm_epsilon is not None and "epsilon" in settings:
        settings["epsilon"] = norm_epsilon
    return settings


def _without_stride(settings):
    return {**settings, **({"strides": (1, 1)} if "strides" in settings else {})}


def _with_stride_in_3x3(settings):
    if settings["name"] in [f"{block}_1_conv" for block in _HALVING]:
        settings["strides"] = (1, 1)
    if settings["name"] in _STRIDED_3X3:
        settings |= {"strides": (2, 2), "padding": "valid"}
    return settings


def _padded_call(layer, *args, **kwargs):
    """Calls a layer of the new network, and before a 3x3 convolution with a stride one that pads.

    The padding of "same" would depend on the size of the batch.
    """
    if layer.name in _STRIDED_3X3:
        pad = keras.layers.ZeroPadding2D(1, dtype=layer.dtype_policy, name=f"{layer.name}_pad")
        args = (pad(*args),)
    return layer(*args, **kwargs)
