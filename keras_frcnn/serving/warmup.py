"""Warm-up requests: TensorFlow Serving sends them to a version before it answers clients.

The first request to a signature takes seconds, because TensorFlow optimises its graph then.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from keras_frcnn.serving import verify
from keras_frcnn.serving.signatures import INPUTS

FILE = Path("assets.extra", "tf_serving_warmup_requests")


def write(folder: Path, images: Sequence[np.ndarray]) -> None:
    """Writes a request for each image to each signature that answers images.

    Args:
        folder: the SavedModel.
        images: uint8 [H, W, 3].
    """
    path = folder / FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image in images:
            for signature in INPUTS:
                writer.write(_record(signature, verify.inputs(signature, [image])))


def _record(signature: str, inputs: dict[str, tf.Tensor]) -> bytes:
    """Returns the serialized log of a request, from which the server takes the request."""
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(signature_name=signature),
        inputs={name: tf.make_tensor_proto(value) for name, value in inputs.items()},
    )
    log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString()
