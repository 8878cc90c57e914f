"""Checks that padding does not change what a backbone makes of an image."""

import numpy as np

from tests import fakes


def randomize(backbone, seed=1) -> None:
    """Draws every weight that starts constant: biases would leak out of the padding."""
    rng = np.random.default_rng(seed)
    for weight in backbone.weights:
        name = weight.path.rpartition("/")[2]
        if name in ("gamma", "moving_variance"):
            weight.assign(weight * rng.uniform(0.5, 1.5, weight.shape))
        elif name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.3, weight.shape))


def features_of(backbone, images):
    """Returns, for each level, the maps of all images and each image's map cut to its true size."""
    inputs = fakes.inputs_of(images)
    levels = backbone(inputs["images"], inputs["image_shape"])
    maps = [level.features.numpy() for level in levels]
    cut = [
        [one[:h, :w] for one, (h, w) in zip(whole, level.shape.numpy(), strict=True)]
        for whole, level in zip(maps, levels, strict=True)
    ]
    return maps, cut


def assert_padding_changes_nothing(backbone, images, size=None, tolerance=1e-5) -> None:
    """Compares each image's features in one batch with those that it has alone.

    Args:
        backbone: the backbone.
        images: arrays of different sizes.
        size: maps an image's height or width and a stride to that of its map, to check it too.
        tolerance: the largest difference, relative to the largest feature.
    """
    maps, together = features_of(backbone, images)
    expected = backbone.level_shapes([image.shape[:2] for image in images])
    for i, image in enumerate(images):
        _, alone = features_of(backbone, [image])
        for level, stride in enumerate(backbone.strides):
            features = alone[level][0]
            h, w = features.shape[:2]
            assert (h, w) == tuple(expected[level][i].numpy())
            if size is not None:
                assert (h, w) == tuple(size(side, stride) for side in image.shape[:2])
            scale = np.abs(features).max()
            assert scale > 0.01
            np.testing.assert_allclose(
                together[level][i], features, rtol=tolerance, atol=tolerance * scale
            )
            assert not maps[level][i, h:].any()
            assert not maps[level][i, :, w:].any()


def images_of(sizes) -> list[np.ndarray]:
    """Makes normalised images of noise of (height, width) ``sizes``."""
    return [fakes.image(h, w, seed=i) for i, (h, w) in enumerate(sizes)]


def round_down(side, stride):
    return max(side // stride, 1)


def round_up(side, stride):
    return -(-side // stride)


def round_down_but_p6(side, stride):
    """The sizes of a pyramid's levels if the backbone rounds down: P6 has every second cell."""
    return round_up(round_down(side, 32), 2) if stride == 64 else round_down(side, stride)
