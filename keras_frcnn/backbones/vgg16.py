"""VGG16 (Simonyan & Zisserman 2014, "Very Deep Convolutional Networks")."""

import keras

from keras_frcnn.backbones import applications, feature_pyramid, pretrained
from keras_frcnn.backbones.backbone import Backbone, PretrainedWeights
from keras_frcnn.data.images.preprocessing import CAFFE

PREPROCESSING = CAFFE
STRIDES = (16,)
PRETRAINED = PretrainedWeights(
    "VGG16",
    f"{pretrained.KERAS_URL}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
    (("fc1", (25088, 4096)), ("fc2", (4096, 4096))),
)


def VGG16(weights=None, frozen_blocks=0, dtype=None, name="backbone") -> Backbone:
    """Makes the thirteen convolutions of VGG16 with the four poolings between them, stride 16.

    Args:
        weights: None (random), "imagenet", or a weights file in keras.applications' format.
        frozen_blocks: how many of the five blocks are not trained, counted from the image.
        dtype: a Keras dtype policy or its name. None: the global policy.
        name: the name of the layer.

    Returns:
        A ``Backbone`` with one level of 512 channels.
    """
    arguments = {"strides": STRIDES, "rpn_channels": 512}
    network = _network("block5_conv3", dtype)
    return _backbone(network, weights, frozen_blocks, dtype, name, **arguments)


def VGG16FPN(
    weights=None, frozen_blocks=0, dtype=None, name="backbone", pyramid_norm=False
) -> Backbone:
    """Makes VGG16 with a feature pyramid on its blocks 3 to 5 and its last pooling.

    Args:
        weights, frozen_blocks, dtype, name: as for ``VGG16``.
        pyramid_norm: whether each convolution of the pyramid is followed by batch normalisation,
            which is frozen. Default False.

    Returns:
        A ``Backbone`` with the levels P2 to P6, of strides 4 to 64 and 256 channels.
    """
    ends = ["block3_conv3", "block4_conv3", "block5_conv3", "block5_pool"]
    network = feature_pyramid.with_pyramid(_network(ends, dtype), norm=pyramid_norm, dtype=dtype)
    arguments = feature_pyramid.BACKBONE_ARGUMENTS
    return _backbone(network, weights, frozen_blocks, dtype, name, **arguments)


def _network(ends, dtype):
    """Makes the network from the image to the map, or the list of maps, of the named layers."""
    original = keras.applications.VGG16(include_top=False, weights=None)
    outputs = keras.tree.map_structure(lambda end: original.get_layer(end).output, ends)
    return applications.rebuild(keras.Model(original.input, outputs, name="vgg16"), dtype)


def _backbone(network, weights, frozen_blocks, dtype, name, **arguments):
    backbone = Backbone(
        network,
        preprocessing=PREPROCESSING,
        freeze_groups=applications.groups_by_prefix(network, [f"block{n}_" for n in range(1, 6)]),
        frozen_blocks=frozen_blocks,
        pretrained=PRETRAINED,
        name=name,
        dtype=dtype,
        **arguments,
    )
    if weights is not None:
        pretrained.load_pretrained(backbone, weights)
    return backbone
