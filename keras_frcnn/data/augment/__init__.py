"""Augmentation: training images and their boxes, changed at random.

All draws are a function of the image's key, that is of the run's seed, the epoch and the image's
row. They depend neither on the batch nor on the thread, nor on the step at which a run was resumed.
Each change has draws of its own, so switching one on alters no other, and a change that no setting
asks for adds nothing to the graph.
"""

from keras_frcnn.data.augment.color import change_colors
from keras_frcnn.data.augment.draws import image_key, model_key
from keras_frcnn.data.augment.geometry import draw_sides, flip_and_crop, largest_sides, move_boxes

__all__ = [
    "change_colors",
    "draw_sides",
    "flip_and_crop",
    "image_key",
    "largest_sides",
    "model_key",
    "move_boxes",
]
