"""ResNets (He et al. 2016, "Deep Residual Learning for Image Recognition")."""

import keras

from keras_frcnn.backbones import applications, pretrained
from keras_frcnn.backbones.backbone import Backbone, PretrainedWeights
from keras_frcnn.data.images.preprocessing import CAFFE

PREPROCESSING = CAFFE
STRIDES = (16,)


def ResNet50(weights=None, frozen_blocks=0, dtype=None, name="backbone") -> Backbone:
    """Makes the first four stages of ResNet-50, stride 16, with the fifth as head network.

    Batch normalisation is frozen. The fifth stage has no stride here. So it returns 7 x 7 cells for
    7 x 7 pooled cells, as it would with a stride for 14 x 14 (He et al. 2016, section 4 and its
    appendix on detection).

    Args:
        weights: None (random), "imagenet", or a weights file in keras.applications' format.
        frozen_blocks: how many of the four stages are not trained, counted from the image.
        dtype: a Keras dtype policy or its name. None: the global policy.
        name: the name of the layer.

    Returns:
        A ``Backbone`` with one level of 1024 channels; ``make_head`` gives the fifth stage.
    """
    return _resnet("ResNet50", weights, frozen_blocks, dtype, name)


def ResNet101(weights=None, frozen_blocks=0, dtype=None, name="backbone") -> Backbone:
    """Makes the first four stages of ResNet-101: as ``ResNet50``, with 23 blocks in the fourth."""
    return _resnet("ResNet101", weights, frozen_blocks, dtype, name)


def _resnet(application, weights, frozen_blocks, dtype, name):
    original = getattr(keras.applications, application)(include_top=False, weights=None)
    label = application.lower()
    end = [layer for layer in original.layers if layer.name.startswith("conv4_")][-1].output
    shared = keras.Model(original.input, end, name=label)
    stage5 = keras.Model(end, original.output, name=f"{label}_stage5")
    network = applications.rebuild(shared, dtype, _damped)
    backbone = Backbone(
        network,
        STRIDES,
        PREPROCESSING,
        # The fifth group is empty: that stage is the head, but settings may count it.
        freeze_groups=applications.groups_by_prefix(network, [f"conv{n}_" for n in range(1, 6)]),
        frozen_blocks=frozen_blocks,
        rpn_channels=512,
        head_network=applications.rebuild(stage5, dtype, _damped_without_stride),
        pretrained=PretrainedWeights(
            application,
            f"{pretrained.KERAS_URL}/resnet/{label}_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        name=name,
        dtype=dtype,
    )
    if weights is not None:
        pretrained.load_pretrained(backbone, weights)
    return backbone


def _damped(settings):
    """Scales down the branch that each block adds, so that random weights keep features small."""
    if settings["name"].endswith("_3_bn"):
        settings["gamma_initializer"] = keras.initializers.Constant(0.25)
    return settings


def _damped_without_stride(settings):
    return _damped({**settings, **({"strides": (1, 1)} if "strides" in settings else {})})
