"""ImageNet's weights as the start of a detector."""

from keras_frcnn import backbones
from keras_frcnn.config import Config
from keras_frcnn.models.faster_rcnn import FasterRCNN


def load_imagenet(model: FasterRCNN, config: Config) -> list[str]:
    """Starts a detector from the weights that ``config.backbone_weights`` names.

    Keras' VGG16 weights are the authors' Caffe weights. If the box head has VGG16's own widths, its
    ``fc1`` and ``fc2`` start it too; a ResNet's fifth stage always does. If the RPN has a backbone
    of its own, that starts as the detector's does, even from random weights.

    Args:
        model: the detector, changed in place.
        config: ``backbone_weights`` is read: 'imagenet', 'none', or a weights file in
            keras.applications' form.

    Returns:
        Names of the layers that were loaded; none for 'none'.

    Raises:
        ValueError: saying what to do if there is no network, or naming a file that is missing or
            does not fit.
    """
    loaded = []
    if config.backbone_weights != "none":
        head = model.roi_head.box_head
        extra = head.stage.layers if head.stage else head.hidden
        loaded = backbones.load_pretrained(model.backbone, config.backbone_weights, extra)
    if model.rpn_backbone is not None:
        model.rpn_backbone.set_weights(model.backbone.get_weights())
    return loaded
