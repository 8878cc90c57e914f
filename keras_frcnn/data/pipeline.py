"""The input pipeline: shuffles records, decodes, augments, resizes, normalises, pads and batches.

Row numbers are shuffled, never pixels. Their order depends only on the seed, so batch k is the same
whether the run started at step 0 or was resumed at step k. Memory does not grow with the number of
steps, because no pixels are kept.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data import augment, proposals_file
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.epoch_order import aspects_of, batches, drawn_rows
from keras_frcnn.data.images import transforms
from keras_frcnn.data.images.decoding import image_reader
from keras_frcnn.data.images.preprocessing import Preprocessing
from keras_frcnn.ops import boxes as box_ops

_PREFETCHED_BATCHES = 2
_DRAWN_BATCHES = 1000  # drawn at a time, so that tf.data hardly ever waits for Python
EVAL_EPOCH = -1  # not an epoch of training, so evaluation shares no keys with training
_PADDING = {"boxes": 0.0, "labels": -1, "ignore": False}


def train_dataset(
    dataset: Dataset,
    config: Config,
    preprocessing: Preprocessing,
    start_step: int = 0,
    steps: int | None = None,
    num_replicas: int = 1,
    replicas: Sequence[int] = (0,),
) -> tf.data.Dataset:
    """Makes the endless stream of training batches.

    Every epoch takes each image once, in a new random order, and changes it at random as the
    settings of the augmentation group say. With ``batch_size`` above 1, the images of a batch have
    the same orientation (landscape or portrait) and nearly the same shape, so there is little
    padding: below 1 % in VOC's batches of 4, and more if sizes or crops are drawn for each image.
    Images that do not fill a batch at the end of an epoch wait for the next one.

    Args:
        dataset: the records.
        config: settings of the groups data and augmentation, ``seed``, ``jit_compile`` and
            ``train_proposals``. ``difficult`` decides how difficult objects are treated. Without
            ``include_empty``, images that have no other objects are left out.
        preprocessing: the preprocessing of the backbone.
        start_step: number of batches to skip because a resumed run has already used them.
        steps: number of batches that will be taken. A proposals file needs only the images of
            these batches; if this is None, it needs all images.
        num_replicas: number of equal parts into which each batch is divided.
        replicas: numbers of the parts that the stream has, one after the other. All parts together
            are the batch that one replica would have, except for its padding.

    Returns:
        Batches ``(inputs, targets)``. For the inputs see ``eval_dataset``; in training "key"
        differs in every epoch. Targets: "boxes" float32 [B, G, 4], yxyx pixels of the resized
        images; "labels" int32 [B, G]; "ignore" bool [B, G]. Padding rows have label -1 and zero
        boxes. G is at least 1; with ``jit_compile`` it is the same for all batches.

    Raises:
        ValueError: If there is no image to train on, or a proposals file is wrong. The error names
            the file and what is wrong.
    """
    aspects = aspects_of(dataset.records, config)
    rows = aspects if steps is None else drawn_rows(dataset.records, config, start_step, steps)
    load = _training_loader(dataset.records, config, preprocessing, rows)

    def rows_and_epochs() -> Iterator[np.ndarray]:
        drawn = batches(aspects, config.batch_size, config.seed)
        drawn = itertools.islice(drawn, start_step, None)
        while True:
            some = np.stack(list(itertools.islice(drawn, _DRAWN_BATCHES)))
            parts = some.reshape(len(some), num_replicas, -1, 2)
            yield parts[:, list(replicas)].reshape(-1, 2)

    stream = tf.data.Dataset.from_generator(
        rows_and_epochs, output_signature=tf.TensorSpec([None, 2], tf.int64)
    )
    stream = stream.unbatch().map(load, tf.data.AUTOTUNE)
    inputs_spec, targets_spec = stream.element_spec
    num_rows = None
    if config.jit_compile:
        num_rows = max(1, *(len(dataset.records[row].labels) for row in aspects))
    shapes = (
        {name: spec.shape for name, spec in inputs_spec.items()},
        {name: [num_rows, *spec.shape[1:]] for name, spec in targets_spec.items()},
    )
    size = config.batch_size // num_replicas
    stream = stream.padded_batch(size, shapes, (None, _PADDING), drop_remainder=True)
    return _finish(stream, len(replicas))


def training_examples(
    dataset: Dataset,
    config: Config,
    preprocessing: Preprocessing,
    rows: Sequence[int],
    epoch: int = 0,
) -> tf.data.Dataset:
    """Makes batches of one image each, as training sees it in a given epoch.

    Args:
        dataset: the records.
        config: see ``train_dataset``.
        preprocessing: the preprocessing of the backbone.
        rows: rows of ``dataset.records``.
        epoch: the epoch whose random numbers are used.

    Returns:
        For each row ``(inputs, targets)``, as ``train_dataset`` makes them.
    """
    rows_and_epochs = np.stack([np.asarray(rows, np.int64), np.full(len(rows), epoch)], axis=1)
    stream = tf.data.Dataset.from_tensor_slices(rows_and_epochs)
    load = _training_loader(dataset.records, config, preprocessing, rows)
    return _finish(stream.map(load, tf.data.AUTOTUNE).batch(1))


def image_of(inputs: dict[str, tf.Tensor], preprocessing: Preprocessing) -> np.ndarray:
    """Returns the image in a batch of one for display: uint8 [H, W, 3] RGB, without padding."""
    height, width = inputs["image_shape"][0].numpy()
    return transforms.denormalize(inputs["images"][0, :height, :width], preprocessing).numpy()


def objects_of(targets: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    """Returns the targets in a batch of one as arrays of the same names, without padding rows."""
    valid = targets["labels"][0].numpy() >= 0
    return {name: values[0].numpy()[valid] for name, values in targets.items()}


def eval_dataset(
    dataset: Dataset,
    config: Config,
    preprocessing: Preprocessing,
    batch_size: int = 1,
    rows: Sequence[int] | None = None,
) -> tf.data.Dataset:
    """Makes batches of all images, once, in the order of the records.

    XLA compiles a model once for each shape of its inputs. With ``jit_compile`` there are therefore
    few shapes, here and in training: landscape images are padded to ``shorter_side`` x
    ``longer_side`` (the largest of these in multi-scale training), and portrait images to
    ``longer_side`` x ``shorter_side``. Only a batch that holds both, which never occurs in
    training, is padded to ``longer_side`` x ``longer_side``.

    Args:
        dataset: the records.
        config: settings ``shorter_side``, ``longer_side``, ``seed``, ``jit_compile`` and
            ``test_proposals``.
        preprocessing: the preprocessing of the backbone.
        batch_size: number of images per batch; the last batch may hold fewer.
        rows: rows of ``dataset.records``, for these images in this order.

    Returns:
        Batches of inputs:

        - "images" float32 [B, H, W, 3], resized and normalised, padded with zeros at the bottom and
          at the right.
        - "image_shape" int32 [B, 2], heights and widths without padding.
        - "original_shape" int32 [B, 2], heights and widths before resizing; in training, those of
          the crop.
        - "index" int32 [B], rows of ``dataset.records``.
        - "key" int32 [B, 2], the key of each image for the model's random draws. It depends on the
          seed, the epoch and the row, but not on the batch. In evaluation it is always the same.
        - With a proposals file, "proposals" float32 [B, P, 4], yxyx pixels of the resized images,
          best first, padded with boxes without area; and "proposal_scores" float32 [B, P]. P is
          the same for all batches.

    Raises:
        ValueError: If a proposals file is wrong. The error names the file and what is wrong.
    """
    records = dataset.records
    proposals_of = proposals_file.lookup(
        config.test_proposals, records, config.test_post_nms_top_k, range(len(records))
    )
    read_image = image_reader(records)
    sides = config.shorter_side, config.longer_side

    def load(row: tf.Tensor) -> dict[str, tf.Tensor]:
        image = read_image(row)
        resized, shape = (
            transforms.resize(image, *sides, config.resize_rounding, config.resize_filter),
            tf.shape(image)[:2],
        )
        key = augment.image_key(config.seed, EVAL_EPOCH, row)
        inputs = _inputs(resized, shape, row, key, proposals_of(row), preprocessing)
        return _pad_for_xla(inputs, shape, sides) if config.jit_compile else inputs

    rows = range(len(records)) if rows is None else rows
    stream = tf.data.Dataset.from_tensor_slices(np.asarray(rows, np.int64))
    stream = stream.map(load, tf.data.AUTOTUNE)
    return _finish(stream.padded_batch(batch_size))


def _object_table(
    records: Sequence[Record], config: Config
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Stores the objects of all records in flat tensors, for look-up in the graph.

    Args:
        records: the records.
        config: the settings. ``difficult`` is resolved for the form of each record: "drop" leaves
            difficult objects out, "keep" treats them like the others, and "ignore" marks them.

    Returns:
        A function from a row to its targets, with boxes in pixels of the original image.
    """
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(r.boxes for r in records)])
    labels = np.concatenate([np.zeros(0, np.int32), *(r.labels for r in records)])
    difficult = np.concatenate([np.zeros(0, bool), *(r.difficult for r in records)])
    owners = np.repeat(np.arange(len(records)), [len(r.labels) for r in records])
    modes = np.array([config.resolve_difficult(r.form) for r in records], str)[owners]
    kept, ignored = ~(difficult & (modes == "drop")), difficult & (modes == "ignore")
    splits = np.searchsorted(owners[kept], np.arange(len(records) + 1))
    flat = {"boxes": boxes, "labels": labels, "ignore": ignored}
    flat = {name: tf.constant(values[kept]) for name, values in flat.items()}
    splits = tf.constant(splits)

    def targets_of(row: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: values[splits[row] : splits[row + 1]] for name, values in flat.items()}

    return targets_of


def _training_loader(
    records: Sequence[Record], config: Config, preprocessing: Preprocessing, rows: Iterable[int]
) -> Callable[[tf.Tensor], tuple[dict, dict]]:
    """Returns a function that maps (row, epoch), int64 [2], to the inputs and targets of an image.

    ``rows`` are the rows whose images a proposals file must have.
    """
    read_image, targets_of = image_reader(records), _object_table(records, config)
    proposals_of = proposals_file.lookup(
        config.train_proposals, records, config.train_post_nms_top_k, rows
    )

    def load(row_and_epoch: tf.Tensor) -> tuple[dict, dict]:
        row, epoch = tf.unstack(row_and_epoch)
        key = augment.image_key(config.seed, epoch, row)
        original, targets, proposals = read_image(row), targets_of(row), proposals_of(row)
        if proposals:
            proposals["proposals"] = augment.move_boxes(
                proposals["proposals"], tf.shape(original)[:2], targets, key, config
            )
        image, targets = augment.flip_and_crop(original, targets, key, config)
        original_shape = tf.shape(image)[:2]
        sides = augment.draw_sides(key, config)
        rules = config.resize_rounding, config.resize_filter
        resized = transforms.resize(image, *sides, *rules)
        resized = augment.change_colors(resized, key, config)
        inputs = _inputs(resized, original_shape, row, key, proposals, preprocessing)
        if config.jit_compile:
            inputs = _pad_for_xla(inputs, tf.shape(original)[:2], augment.largest_sides(config))
        boxes = box_ops.rescale(targets["boxes"], original_shape, inputs["image_shape"])
        return inputs, _at_least_one_row({**targets, "boxes": boxes})

    return load


def _inputs(
    resized: tf.Tensor,
    original_shape: tf.Tensor,
    row: tf.Tensor,
    key: tf.Tensor,
    proposals: Mapping[str, tf.Tensor],
    preprocessing: Preprocessing,
) -> dict[str, tf.Tensor]:
    """Makes the inputs of one resized image; its ``proposals`` are resized too."""
    image_shape = tf.shape(resized)[:2]
    if proposals:
        scaled = box_ops.rescale(proposals["proposals"], original_shape, image_shape)
        proposals = {**proposals, "proposals": scaled}
    return {
        "images": transforms.normalize(resized, preprocessing),
        "image_shape": image_shape,
        "original_shape": original_shape,
        "index": tf.cast(row, tf.int32),
        "key": augment.model_key(key),
        **proposals,
    }


def _pad_for_xla(
    inputs: dict[str, tf.Tensor], full_shape: tf.Tensor, sides: tuple[int, int]
) -> dict[str, tf.Tensor]:
    """Pads an image to ``(shorter_side, longer_side)``, or a portrait to the reverse.

    ``full_shape``, the shape of the whole original image, decides which, because resizing or
    cropping can turn a portrait into a square.
    """
    is_portrait = full_shape[0] > full_shape[1]
    height, width = tf.unstack(tf.where(is_portrait, sides[::-1], sides))
    padded = tf.image.pad_to_bounding_box(inputs["images"], 0, 0, height, width)
    return {**inputs, "images": padded}


def _at_least_one_row(targets: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Adds a padding row to an image without objects, so that no reduction has an empty axis."""
    missing = tf.cast(tf.equal(tf.size(targets["labels"]), 0), tf.int32)
    padded = {}
    for name, values in targets.items():
        paddings = [[0, missing]] + [[0, 0]] * (values.shape.rank - 1)
        padded[name] = tf.pad(values, paddings, constant_values=_PADDING[name])
    return padded


def _finish(stream: tf.data.Dataset, num_parts: int = 1) -> tf.data.Dataset:
    """Fixes the order, limits prefetching, and lets each worker of a cluster take its own share."""
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return stream.prefetch(_PREFETCHED_BATCHES * num_parts).with_options(options)
