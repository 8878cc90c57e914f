"""VGG16 (Simonyan & Zisserman 2014, "Very Deep Convolutional Networks")."""

import keras

from keras_frcnn.backbones import applications, pretrained
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
    original = keras.applications.VGG16(include_top=False, weights=None)
    last = original.get_layer("block5_conv3").output
    network = applications.rebuild(keras.Model(original.input, last, name="vgg16"), dtype)
    backbone = Backbone(
        network,
        STRIDES,
        PREPROCESSING,
        freeze_groups=applications.groups_by_prefix(network, [f"block{n}_" for n in range(1, 6)]),
        frozen_blocks=frozen_blocks,
        rpn_channels=512,
        pretrained=PRETRAINED,
        name=name,
        dtype=dtype,
    )
    if weights is not None:
        pretrained.load_pretrained(backbone, weights)
    return backbone
