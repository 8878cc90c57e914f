"""The signatures beyond plain detection: with options, by tiles, and the results of stages.

TensorFlow Serving requires every input of a signature in its row form, so options have signatures
of their own. Each input has one value for each image.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.models.preprocessing import to_original
from keras_frcnn.ops import tiles
from keras_frcnn.serving import requests

SMALLEST_TILE, LARGEST_OVERLAP, MOST_TILES = 64, 0.9, 1024

_IMAGE = tf.TensorSpec([None, None, 3], tf.uint8)
_IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, "input_tensor")
_NUMBER, _COUNT = tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.int32)

_BAD_OPTIONS = (
    "score_threshold must be a number between 0 and 1, or below 0 for the model's own, and "
    "max_detections at least 1, or 0 for the model's own"
)
_BAD_TILES = (
    f"tile must be at least {SMALLEST_TILE}, overlap between 0 and {LARGEST_OVERLAP}, and an image "
    f"at most {MOST_TILES} tiles"
)


def make(model: FasterRCNN, as_answer: Callable) -> dict[str, Callable]:
    """Makes the functions of these signatures.

    - ``serve_options``: ``image_bytes``, ``score_threshold`` float32 [N] and ``max_detections``
      int32 [N], which is at most that of the model.
    - ``serve_tiled``: ``image_bytes``, ``tile`` int32 [N] and ``overlap`` float32 [N], as
      ``ops.tiles`` has them.
    - ``serve_proposals``: ``image_bytes``; the answer has ``proposal_boxes`` [N, P, 4] as fractions
      of the image, ``proposal_boxes_pixels``, ``proposal_scores``, ``num_proposals`` and
      ``status``.
    - ``serve_raw``: ``input_tensor``; the answer has what enters the last suppression:
      ``raw_boxes`` [N, R, C, 4] as fractions of the image, ``raw_boxes_pixels`` [N, R, C, 4] and
      ``raw_scores`` [N, R, C], for each of R regions and C classes. A score is 0 where there is
      nothing to detect.
    - ``serve_features``: ``input_tensor``; the answer has, for each level, ``features_16`` [N, h,
      w, C], where 16 is its stride, and ``cells_16`` int32 [N, 2], the rows and columns that the
      image covers.

    Args:
        model: the detector.
        as_answer: names the detections of images of some sizes.

    Returns:
        The functions, by the names of the signatures.
    """
    return {
        "serve_options": _with_options(model, as_answer),
        "serve_tiled": _by_tiles(model, as_answer),
        "serve_proposals": _proposals(model),
        "serve_raw": _raw(model),
        "serve_features": _features(model),
    }


def _with_options(model, as_answer):
    own = model.roi_head.detection_decoder

    @tf.function(input_signature=[_IMAGE, _NUMBER, _COUNT])
    def detect(image, score_threshold, max_detections):
        found = model.detect_batch(image[tf.newaxis], score_threshold)
        count = tf.minimum(found["num_detections"], max_detections)
        is_kept = tf.range(own.max_detections) < count[:, tf.newaxis]
        kept = {
            "boxes": tf.where(is_kept[..., tf.newaxis], found["boxes"], 0.0),
            "scores": tf.where(is_kept, found["scores"], 0.0),
            "labels": tf.where(is_kept, found["labels"], -1),
            "num_detections": count,
        }
        return as_answer(kept, tf.shape(image)[tf.newaxis, :2])

    def answer(image, score_threshold, max_detections):
        threshold = tf.where(score_threshold < 0, own.score_threshold, score_threshold)
        count = tf.where(max_detections == 0, own.max_detections, max_detections)
        return detect(image, threshold, count)

    def fault(image, score_threshold, max_detections):
        del image
        return tf.where((score_threshold <= 1) & (max_detections >= 0), "", _BAD_OPTIONS)

    options = {"score_threshold": tf.float32, "max_detections": tf.int32}
    return _of_files(answer, detect, fault, options)


def _by_tiles(model, as_answer):
    @tf.function(input_signature=[_IMAGE])
    def detect(image):
        found = model.detect_batch(image[tf.newaxis])
        return {name: found[name][0] for name in ("boxes", "scores", "labels")}

    outputs = detect.get_concrete_function().structured_outputs
    row = {name: tf.TensorSpec(value.shape, value.dtype) for name, value in outputs.items()}
    max_detections = row["scores"].shape[0]

    @tf.function(input_signature=[_IMAGE, _COUNT, _NUMBER])
    def answer(image, tile, overlap):
        size = tf.shape(image)[:2]
        corners = tiles.corners(size[0], size[1], tile, overlap)
        areas = tf.concat([corners, corners + tf.minimum(size, tile)], axis=1)
        found = tf.map_fn(
            lambda area: detect(image[area[0] : area[2], area[1] : area[3]]),
            areas,
            parallel_iterations=1,
            fn_output_signature=row,
        )
        offsets = tf.cast(tf.tile(corners, [1, 2]), tf.float32)[:, tf.newaxis]
        boxes, scores, rows = tiles.join(
            tf.reshape(found["boxes"] + offsets, [-1, 4]),
            tf.reshape(found["scores"], [-1]),
            tf.reshape(found["labels"], [-1]),
            tf.repeat(areas, max_detections, axis=0),
            size,
            max_detections,
        )
        labels = tf.gather(tf.reshape(found["labels"], [-1]), rows)
        count = tf.size(scores)
        missing = [[0, max_detections - count]]
        joined = {
            "boxes": tf.pad(boxes, [*missing, [0, 0]]),
            "scores": tf.pad(scores, missing),
            "labels": tf.pad(labels, missing, constant_values=-1),
        }
        joined = {
            name: tf.ensure_shape(value, row[name].shape)[tf.newaxis]
            for name, value in joined.items()
        }
        return as_answer(joined | {"num_detections": count[tf.newaxis]}, size[tf.newaxis])

    def fault(image, tile, overlap):
        is_sound = (tile >= SMALLEST_TILE) & (overlap >= 0) & (overlap <= LARGEST_OVERLAP)
        size = tf.shape(image)
        places = tiles.corners(
            size[0],
            size[1],
            tf.where(is_sound, tile, SMALLEST_TILE),
            tf.where(is_sound, overlap, 0),
        )
        return tf.where(is_sound & (tf.shape(places)[0] <= MOST_TILES), "", _BAD_TILES)

    return _of_files(answer, answer, fault, {"tile": tf.int32, "overlap": tf.float32})


def _proposals(model):
    @tf.function(input_signature=[_IMAGE])
    def propose(image):
        proposals = model.propose_step(model.make_inputs(image[tf.newaxis]))
        size = tf.tile(tf.cast(tf.shape(image)[:2], tf.float32), [2])
        count = tf.reduce_sum(tf.cast(proposals.valid, tf.float32), axis=1)
        return {
            "proposal_boxes": tf.clip_by_value(proposals.boxes / size, 0.0, 1.0),
            "proposal_boxes_pixels": proposals.boxes,
            "proposal_scores": proposals.scores,
            "num_proposals": count,
        }

    return _of_files(propose, propose)


def _raw(model):
    @tf.function(input_signature=[_IMAGES])
    def serve(images):
        images = requests.checked_images(images)
        inputs = model.make_inputs(images)
        levels = model.features(inputs)
        boxes, scores = model.roi_head.candidates(
            levels, model.propose(inputs, levels), inputs["image_shape"]
        )
        shape, size = tf.shape(boxes), tf.shape(images)[1:3]
        flat = tf.reshape(boxes, [shape[0], shape[1] * shape[2], 4])
        boxes = tf.reshape(to_original(flat, inputs), shape)
        boxes = tf.where(scores[..., tf.newaxis] > 0.0, boxes, 0.0)
        fractions = boxes / tf.tile(tf.cast(size, tf.float32), [2])
        return {
            "raw_boxes": tf.clip_by_value(fractions, 0.0, 1.0),
            "raw_boxes_pixels": boxes,
            "raw_scores": scores,
        }

    return serve


def _features(model):
    @tf.function(input_signature=[_IMAGES])
    def serve(images):
        levels = model.features(model.make_inputs(requests.checked_images(images)))
        maps = {f"features_{level.stride}": tf.identity(level.features) for level in levels}
        return maps | {f"cells_{level.stride}": tf.identity(level.shape) for level in levels}

    return serve


def _of_files(answer, traced, fault=None, options=None):
    """Returns a signature that answers one file after the other, each with its own options.

    Args:
        answer: takes an image [H, W, 3] and its options, and returns a batch of one answer.
        traced: the ``tf.function`` that makes the answers.
        fault: takes the same and says what is wrong with the options.
        options: the types of the options, by name.
    """
    outputs = traced.get_concrete_function().structured_outputs
    row = {name: tf.TensorSpec(spec.shape[1:], spec.dtype) for name, spec in outputs.items()}
    row["status"] = tf.TensorSpec([], tf.string)
    names = {"image_bytes": tf.string, **(options or {})}

    def nothing(num_images):
        return {
            name: tf.zeros([num_images, *spec.shape[1:]], spec.dtype)
            for name, spec in outputs.items()
        }

    def answer_one(values):
        content, *given = values
        return requests.answer_file(
            content,
            lambda image: answer(image, *given),
            nothing,
            (lambda image: fault(image, *given)) if fault else None,
        )

    def serve(*values):
        return tf.map_fn(answer_one, values, parallel_iterations=1, fn_output_signature=row)

    specs = [tf.TensorSpec([None], dtype, name) for name, dtype in names.items()]
    return tf.function(serve, input_signature=specs)
