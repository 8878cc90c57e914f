"""tf.Examples as other tools write them, key by key, with TensorFlow's own writer."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image


def image(height=40, width=60, seed=0, form="JPEG", **options) -> bytes:
    """Returns the file of a small image of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def features(**changes) -> dict:
    """Returns what the Object Detection API's tools write for a cat and a dog, 40 x 60 pixels.

    Args:
        **changes: keys after "image/", with "__" for "/"; None leaves one out.
    """
    values = {
        "encoded": image(),
        "format": "jpeg",
        "filename": "a.jpg",
        "source_id": "a.jpg",
        "height": 40,
        "width": 60,
        "object/bbox/ymin": [0.25, 0.5],
        "object/bbox/xmin": [0.125, 0.0],
        "object/bbox/ymax": [0.5, 1.0],
        "object/bbox/xmax": [0.75, 0.5],
        "object/class/text": ["cat", "dog"],
        "object/class/label": [1, 2],
    }
    values |= {key.replace("__", "/"): value for key, value in changes.items()}
    return {f"image/{key}": value for key, value in values.items() if value is not None}


BOXES = [[10, 7.5, 20, 45], [20, 0, 40, 30]]
"""Of ``features``, yxyx pixels."""


def example(values: dict) -> bytes:
    """Serializes features: texts, bytes, floats, integers or lists of them."""
    message = tf.train.Example()
    for key, value in values.items():
        value = value if isinstance(value, list) else [value]
        feature = message.features.feature[key]
        if value and isinstance(value[0], str | bytes):
            feature.bytes_list.value.extend(v.encode() if isinstance(v, str) else v for v in value)
        elif value and isinstance(value[0], float):
            feature.float_list.value.extend(value)
        elif value:
            feature.int64_list.value.extend(value)
    return message.SerializeToString()


def write(path, *payloads: bytes) -> None:
    """Writes serialized examples as one TFRecord file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for payload in payloads:
            writer.write(payload)


def write_label_map(folder, *names: str) -> None:
    """Writes ``label_map.pbtxt``, numbers from 1."""
    items = (f"item {{\n  id: {i}\n  name: '{name}'\n}}\n" for i, name in enumerate(names, 1))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "label_map.pbtxt").write_text("".join(items))
