"""Augmentation: changes training images and their boxes at random.

All random numbers depend only on the image's key, that is, on the run's seed, the epoch and the
image's row. They do not depend on the batch, the thread or the step at which a run was resumed.
Each change has its own random numbers, so turning one on does not alter another, and a change that
is turned off adds nothing to the graph.
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
