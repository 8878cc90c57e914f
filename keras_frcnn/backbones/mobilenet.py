"""MobileNetV3 (Howard et al. 2019, "Searching for MobileNetV3")."""

import functools

import keras

from keras_frcnn.backbones import applications, feature_pyramid, pretrained
from keras_frcnn.backbones.backbone import Backbone, PretrainedWeights
from keras_frcnn.config import PYRAMIDS
from keras_frcnn.data.images.preprocessing import Preprocessing

PREPROCESSING = Preprocessing("rgb", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
STRIDES = (16,)
PRETRAINED = PretrainedWeights(
    "MobileNetV3Large",
    f"{pretrained.KERAS_URL}/mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
)
_LAST = "expanded_conv_11_add"  # the end of the blocks with stride 16
_ENDS = ["expanded_conv_2_add", "expanded_conv_5_add", _LAST]  # of the strides 4, 8 and 16
_FIRST_32 = "expanded_conv_12_project_bn"  # the end of the first block with stride 32
_FIRST_BLOCKS = (1, 3, 6, 12)  # the blocks that halve the map; each begins a group
# He initialisation makes up for an activation. Projections have none, but these follow a gate of
# squeeze-and-excitation, which starts at one half.
_AFTER_GATES = [f"expanded_conv_{block}_project" for block in (3, 4, 5, 10, 11, 12, 13, 14)]


def MobileNetV3Large(
    weights=None, frozen_blocks=0, dtype=None, name="backbone", **options
) -> Backbone:
    """Makes the first twelve blocks of MobileNetV3-Large, stride 16.

    1. Batch normalisation is frozen.
    2. Squeeze-and-excitation averages each image's true area only.
    3. The first convolution's padding, which under "same" depends on the size of the batch, is one
       row and column of zeros at the end, as in Keras for even sizes.

    Args:
        weights: None (random), "imagenet", or a weights file in keras.applications' format.
        frozen_blocks: how many of the four groups of layers (one for each of the strides 2 to 16)
            are not trained, counted from the image.
        dtype: a Keras dtype policy or its name. None: the global policy.
        name: the name of the layer.
        **options: ``norm_epsilon``, which replaces the epsilon of batch normalisation, 0.001; and
            ``symmetric_padding``, whether convolutions with a stride pad all sides alike, as in
            torchvision.

    Returns:
        A ``Backbone`` with one level of 112 channels.
    """
    network = _network(_LAST, dtype, **options)
    arguments = {"strides": STRIDES, "rpn_channels": 256}
    return _backbone(network, network, weights, frozen_blocks, dtype, name, **arguments)


def MobileNetV3LargeFPN(
    weights=None, frozen_blocks=0, dtype=None, name="backbone", pyramid_norm=False, **options
) -> Backbone:
    """Makes MobileNetV3-Large with a feature pyramid on the last maps of strides 4 to 32.

    Args:
        weights, dtype, name: as for ``MobileNetV3Large``.
        frozen_blocks: as for ``MobileNetV3Large``, with a fifth group of stride 32.
        pyramid_norm: whether each convolution of the pyramid is followed by batch normalisation,
            which is frozen. Default False.
        **options: those of ``MobileNetV3Large``.

    Returns:
        A ``Backbone`` with the levels P2 to P6, of strides 4 to 64 and 256 channels.
    """
    stages = _network([*_ENDS, ""], dtype, **options)
    network = feature_pyramid.with_pyramid(stages, norm=pyramid_norm, dtype=dtype)
    arguments = feature_pyramid.BACKBONE_ARGUMENTS
    return _backbone(network, stages, weights, frozen_blocks, dtype, name, **arguments)


def MobileNetV3LargeFPN32(
    weights=None, frozen_blocks=0, dtype=None, name="backbone", pyramid_norm=False, **options
) -> Backbone:
    """Makes MobileNetV3-Large with torchvision's feature pyramid, on two maps of stride 32.

    They are the first map of this stride and the last. Regions are pooled from the first level.

    Args:
        weights, frozen_blocks, dtype, name, pyramid_norm, **options: as for
            ``MobileNetV3LargeFPN``.

    Returns:
        A ``Backbone`` with levels of strides 32, 32 and 64 and 256 channels.
    """
    stages = _network([_FIRST_32, ""], dtype, **options)
    network = feature_pyramid.with_pyramid(stages, norm=pyramid_norm, enlarge=False, dtype=dtype)
    arguments = {"strides": PYRAMIDS["mobilenet_v3_large_fpn32"], "num_roi_levels": 1}
    arguments["rpn_channels"] = 256
    return _backbone(network, stages, weights, frozen_blocks, dtype, name, **arguments)


def _network(ends, dtype, norm_epsilon=None, symmetric_padding=False):
    """Makes the network from the image to the map, or the list of maps, of the named layers; ""
    names the last one.
    """
    original = keras.applications.MobileNetV3Large(
        input_shape=(None, None, 3),
        include_top=False,
        include_preprocessing=False,
        weights=None,
    )
    outputs = keras.tree.map_structure(
        lambda end: original.get_layer(end).output if end else original.output, ends
    )
    shared = keras.Model(original.input, outputs, name="mobilenet_v3_large")
    change = functools.partial(
        _changed, norm_epsilon=norm_epsilon, symmetric_padding=symmetric_padding
    )
    call = functools.partial(_padded_call, pad_before=int(symmetric_padding))
    return applications.rebuild(shared, dtype, change, call)


def _backbone(network, stages, weights, frozen_blocks, dtype, name, **arguments):
    backbone = Backbone(
        network,
        preprocessing=PREPROCESSING,
        freeze_groups=_groups(stages),
        frozen_blocks=frozen_blocks,
        pretrained=PRETRAINED,
        name=name,
        dtype=dtype,
        **arguments,
    )
    if weights is not None:
        pretrained.load_pretrained(backbone, weights)
    return backbone


def _changed(settings, norm_epsilon, symmetric_padding):
    """Changes a layer's settings: its padding, some initialisers, epsilon."""
    if norm_epsilon is not None and "epsilon" in settings:
        settings["epsilon"] = norm_epsilon
    if symmetric_padding and settings["name"].endswith("_pad"):
        settings["padding"] = tuple((after, after) for _, after in settings["padding"])
    if settings["name"] == "conv":
        settings["padding"] = "valid"
    if settings["name"].endswith("_project") and settings["name"] not in _AFTER_GATES:
        settings["kernel_initializer"] = "lecun_normal"
    return settings


def _padded_call(layer, *args, pad_before, **kwargs):
    """Calls a layer of the new network, and before the first convolution a layer that pads."""
    if layer.name == "conv":
        padding = (pad_before, 1), (pad_before, 1)
        pad = keras.layers.ZeroPadding2D(padding, dtype=layer.dtype_policy, name="conv_pad")
        args = (pad(*args),)
    return layer(*args, **kwargs)


def _groups(network):
    """Lists the names of the layers with weights by the resolution of their maps."""
    groups = [[]]
    for layer in network.layers:
        if layer.name in [f"expanded_conv_{block}_expand" for block in _FIRST_BLOCKS]:
            groups.append([])
        if layer.weights:
            groups[-1].append(layer.name)
    return groups
