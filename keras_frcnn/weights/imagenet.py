"""ImageNet's weights as the start of a detector."""

from keras_frcnn import backbones
from keras_frcnn.config import Config
from keras_frcnn.models.faster_rcnn import FasterRCNN


def load_imagenet(model: FasterRCNN, config: Config) -> list[str]:
    """Starts a detector from the weights that ``config.backbone_weights`` names.

    Keras' VGG16 weights are the authors' Caffe weights. A box head with VGG16's own widths starts
    from its ``fc1`` and ``fc2``, and the head of a ResNet always starts from the fifth stage. If
    the RPN has a backbone of its own, it starts from the same weights as the detector's, even if
    these are random.

    Args:
        model: the detector, changed in place.
        config: ``backbone_weights`` is read: 'imagenet', 'none', or a weights file in
            keras.applications' format.

    Returns:
        Names of the layers that were loaded; none for 'none'.

    Raises:
        ValueError: if the download fails, with advice, or if a file is missing or does not fit,
            with its name.
    """
    loaded = []
    if config.backbone_weights != "none":
        head = model.roi_head.box_head
        extra = head.stage.layers if head.stage else head.hidden
        loaded = backbones.load_pretrained(model.backbone, config.backbone_weights, extra)
    if model.rpn_backbone is not None:
        model.rpn_backbone.set_weights(model.backbone.get_weights())
    return loaded
