"""The detector, the backbones it can stand on, and its checkpoints."""

from keras_frcnn.models.checkpoint import load
from keras_frcnn.models.faster_rcnn import FasterRCNN

__all__ = ["FasterRCNN", "load"]
