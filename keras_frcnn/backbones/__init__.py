"""Backbones: the shared convolutions that turn images into feature maps."""

from keras_frcnn.data.images.preprocessing import CAFFE, Preprocessing


def preprocessing_of(name: str, pixel_std: float = 1.0) -> Preprocessing:
    """Returns how a backbone wants its pixels, without building it.

    Args:
        name: the backbone's name in the settings.
        pixel_std: a further divisor, the setting of this name.
    """
    del name  # every backbone so far has Caffe's normalisation
    return CAFFE.divided_by(pixel_std)
