"""The shared convolutions of a detector: from padded images to feature maps."""

import copy
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_frcnn.backbones.padding_exact import PaddingExactNetwork
from keras_frcnn.data.images.preprocessing import Preprocessing
from keras_frcnn.layers.frozen_normalization import FrozenNormalization


class PretrainedWeights(NamedTuple):
    """Where keras.applications has ImageNet weights for a backbone.

    Attributes:
        application: the name of the function in keras.applications that makes the network.
        url: the address of the weights, for those who must fetch them by hand.
        top_layers: names and kernel shapes of the dense layers that the weights also include if the
            network is made with its top.
    """

    application: str
    url: str
    top_layers: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureLevel:
    """One feature map of a batch of images.

    It is not a tuple, because Keras refuses arguments of layers that mix tensors and numbers. It
    can be passed to layers by keyword.

    Attributes:
        features: [B, h, w, C], zero outside each image's true rows and columns.
        shape: [B, 2] int32, the true rows and columns of each image's map, at least 1.
        stride: the number of image pixels from one cell to the next.
    """

    features: tf.Tensor
    shape: tf.Tensor
    stride: int

    def frozen(self):
        """Returns the same level without gradient."""
        return dataclasses.replace(self, features=tf.stop_gradient(self.features))

    def __tf_flatten__(self):
        """Splits a level into stride and tensors, so that TensorFlow functions can take levels."""
        return (self.stride,), (self.features, self.shape)

    @classmethod
    def __tf_unflatten__(cls, metadata, components):
        return cls(*components, *metadata)


@keras.saving.register_keras_serializable("keras_frcnn")
class Backbone(keras.layers.Layer):
    """Computes the feature maps of a batch of images of different sizes.

    1. Pad the batch with zeros to at least the largest stride, and each image with zeros until its
       sides are multiples of ``size_divisor``. From here on, these zeros belong to the image.
    2. Run the network so that each image's features equal those it would have alone.
    3. Set the features outside each image's true area to zero.

    Steps 2 and 3 cost nothing in batches without padding. Gradient flows to the weights and the
    images. There is no randomness: dropout layers do nothing and batch normalisation uses its
    moving statistics, in training too.

    Args:
        network: a Functional or Sequential Keras model from normalised images [B, H, W, 3] to one
            map or a list of maps, the finest first.
        strides: the number of image pixels from one cell to the next, one for each map. For a
            single map, it can be a number.
        preprocessing: how the network's pixels are normalised.
        freeze_groups: names of layers that are frozen together, the group nearest the image first.
            Default (): none can be frozen.
        frozen_blocks: how many of the first groups are not trained. Default 0.
        rpn_channels: the width of the RPN's 3x3 convolution on these features. Default 512.
        head_network: a model, or its serialised form, from pooled regions [N, p, p, C] to
            [N, q, q, D], whose copies replace the dense layers of the box head. Default None.
        pretrained: where keras.applications has weights for the network. Default None: nowhere.
        num_roi_levels: how many of the levels, from the finest on, regions are pooled from. Default
            None: all.
        size_divisor: see step 1. Default 1.
        name: the name of the layer. Default "backbone".
        dtype: a Keras dtype policy or its name, of the features. Default None: the network's.

    Call arguments:
        images: [B, H, W, 3] normalised, 0 in the padding.
        image_shape: [B, 2] integers, true heights and widths.

    Returns:
        A list of ``FeatureLevel``s, one for each map of the network, in the compute dtype.

    Raises:
        ValueError: naming a layer whose result would depend on the padding, a stride that is not
            the network's, or a group that cannot be frozen.

    Differences from the paper: none in the result; the paper runs each image alone.

    Reference: Ren et al. 2015, section 3.
    """

    def __init__(
        self,
        network: keras.Model,
        strides: int | Sequence[int],
        preprocessing: Preprocessing,
        freeze_groups: Sequence[Sequence[str]] = (),
        frozen_blocks: int = 0,
        rpn_channels: int = 512,
        head_network: keras.Model | dict | None = None,
        pretrained: PretrainedWeights | None = None,
        num_roi_levels: int | None = None,
        size_divisor: int = 1,
        name: str = "backbone",
        dtype=None,
        **kwargs,
    ):
        exact = PaddingExactNetwork(network)
        dtype = network.dtype_policy if dtype is None else dtype
        super().__init__(name=name, dtype=dtype, autocast=False, **kwargs)
        self.network, self._exact = network, exact
        self._strides = (strides,) if isinstance(strides, int) else tuple(strides)
        self._check_strides()
        self.preprocessing = preprocessing
        self._freeze_groups = tuple(tuple(names) for names in freeze_groups)
        self._frozen_blocks = frozen_blocks
        self._freeze()
        self.rpn_channels = rpn_channels
        # Only its serialised form is kept, so that its weights do not count as the backbone's.
        if isinstance(head_network, keras.Model):
            head_network = keras.saving.serialize_keras_object(head_network)
        self._head = head_network
        self._head_weights = None
        self.pretrained = pretrained
        self.num_roi_levels = num_roi_levels or len(self._strides)
        self.size_divisor = size_divisor
        self.built = True

    def _check_strides(self):
        outputs = self.network.outputs
        if len(outputs) != len(self._strides):
            raise ValueError(
                f"strides must name one stride for each of the network's {len(outputs)} maps. "
                f"Received: {self._strides}"
            )
        for i, (output, stride) in enumerate(zip(outputs, self._strides, strict=True)):
            if len(output.shape) != 4 or output.shape[-1] is None:
                raise ValueError(
                    "The network must give maps [B, h, w, C] with a fixed number of channels. "
                    f"Received: a result of shape {output.shape}"
                )
            image_shape = np.array([[2048, 2048 + 64 * stride]], np.int32)
            ((rows, columns),) = self._exact.output_shapes(image_shape)[i]
            if columns - rows != 64:
                raise ValueError(
                    f"strides must be those of the network's maps. Received: {self._strides}, but "
                    f"{64 * stride} more pixels give {columns - rows} more cells of map {i}, not 64"
                )

    def _freeze(self):
        layers = {layer.name: layer for layer in self.leaf_layers()}
        unknown = [n for names in self._freeze_groups for n in names if n not in layers]
        if unknown:
            raise ValueError(
                f"freeze_groups must name layers of the network. Received: {unknown}, which it "
                "does not have"
            )
        if self._frozen_blocks not in range(len(self._freeze_groups) + 1):
            raise ValueError(
                f"frozen_blocks must be between 0 and {len(self._freeze_groups)}, the number of "
                f"groups of this backbone. Received: {self._frozen_blocks}"
            )
        for names in self._freeze_groups[: self._frozen_blocks]:
            for layer_name in names:
                layers[layer_name].trainable = False

    @property
    def strides(self) -> tuple[int, ...]:
        """Image pixels from one cell to the next, for each level."""
        return self._strides

    @property
    def channels(self) -> tuple[int, ...]:
        """The number of channels of each level."""
        return tuple(output.shape[-1] for output in self.network.outputs)

    @property
    def freeze_groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of the layers that are frozen together, the group nearest the image first."""
        return self._freeze_groups

    @property
    def frozen(self) -> list[str]:
        """Names of what is not trained: the groups, then batch normalisation."""
        words = _words(self._freeze_groups)
        fixed = [layer for layer in self.leaf_layers() if layer.weights and not layer.trainable]
        kept = [layer for layer in fixed if not isinstance(layer, FrozenNormalization)]
        blocks = list(dict.fromkeys(words.get(layer.name, layer.name) for layer in kept))
        return blocks if kept == fixed else [*blocks, "batch normalisation"]

    def leaf_layers(self) -> list[keras.layers.Layer]:
        """Returns the network's layers in order, including those of nested models."""
        return self._exact.layers

    def make_head(self) -> keras.Model | None:
        """Makes a new copy of the head network, or returns None if the backbone has none.

        The weights are pretrained if such weights were loaded into the backbone, otherwise random.
        """
        if self._head is None:
            return None
        head = _network_of(self._head)
        if self._head_weights is not None:
            head.set_weights(self._head_weights)
        return head

    def set_head_weights(self, weights: list[np.ndarray]) -> None:
        """Sets the weights that ``make_head`` gives to its copies."""
        self._head_weights = weights

    def call(self, images, image_shape):
        image_shape, batch_shape = self._enlarged(image_shape), tf.shape(images)[1:3]
        wanted = tf.maximum(self._enlarged(batch_shape), max(self._strides))  # at least one cell
        missing = wanted - batch_shape
        images = tf.pad(images, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
        images = tf.cast(images, self.compute_dtype)
        is_padded = tf.reduce_any(image_shape < tf.shape(images)[1:3])
        maps = self._exact(images, image_shape, is_padded)
        return [FeatureLevel(*one, stride) for one, stride in zip(maps, self._strides, strict=True)]

    def level_shapes(self, image_shape) -> list[tf.Tensor]:
        """Computes the true sizes of all levels from those of the images alone.

        Args:
            image_shape: [B, 2] integers, true heights and widths.

        Returns:
            [B, 2] int32 for each level, rows and columns.
        """
        return self._exact.output_shapes(self._enlarged(image_shape))

    def _enlarged(self, shape):
        """Rounds heights and widths up to multiples of ``size_divisor``."""
        return -(-tf.cast(shape, tf.int32) // self.size_divisor) * self.size_divisor

    def get_config(self):
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "strides": list(self._strides),
            "preprocessing": dataclasses.asdict(self.preprocessing),
            "freeze_groups": [list(names) for names in self._freeze_groups],
            "frozen_blocks": self._frozen_blocks,
            "rpn_channels": self.rpn_channels,
            "head_network": copy.deepcopy(self._head),
            "pretrained": self.pretrained and list(self.pretrained),
            "num_roi_levels": self.num_roi_levels,
            "size_divisor": self.size_divisor,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["network"] = _network_of(config["network"])
        preprocessing, pretrained = config["preprocessing"], config["pretrained"]
        config["preprocessing"] = Preprocessing(
            **{name: _with_tuples(value) for name, value in preprocessing.items()}
        )
        config["pretrained"] = pretrained and PretrainedWeights(*_with_tuples(pretrained))
        return cls(**config)


def _network_of(config):
    """Makes a network from a copy of its serialised form, because Keras empties its argument."""
    return keras.saving.deserialize_keras_object(copy.deepcopy(config))


def _with_tuples(value):
    """Returns nested lists, as JSON has them, as tuples."""
    return tuple(map(_with_tuples, value)) if isinstance(value, list | tuple) else value


def _words(groups):
    """Maps each layer of the groups to the name of its group.

    The name is the common beginning of the layers' names, such as "block1", if it differs between
    the groups. Otherwise it is the group's number.
    """
    starts = [{name.partition("_")[0] for name in names} for names in groups]
    are_names = sum(map(len, starts)) == len(set().union(*starts)) <= len(groups)
    return {
        name: name.partition("_")[0] if are_names else f"group {i}"
        for i, names in enumerate(groups, start=1)
        for name in names
    }
