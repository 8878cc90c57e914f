"""Warm-up requests: a server can send them, and then no signature is slow at first."""

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from keras_frcnn.serving import warmup
from keras_frcnn.serving.signatures import INPUTS
from tests.serving import standin


def test_every_signature_gets_every_image(pencil_dir, tmp_path):
    images = [np.full((9, 12, 3), 7, np.uint8), np.full((12, 9, 3), 8, np.uint8)]
    warmup.write(tmp_path, images)
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(tmp_path / standin.WARMUP))
    ]
    requests = [log.predict_log.request for log in logs]
    assert [request.model_spec.signature_name for request in requests] == [*INPUTS] * 2
    version = standin.Version(pencil_dir)
    assert version.num_warmups == 0  # save alone writes none
    for request in requests:
        response = version.answer(request)
        assert tf.make_ndarray(response.outputs["status"]).tolist() == [b""]
    boxes = [
        tf.make_ndarray(version.answer(request).outputs["detection_boxes_pixels"])[0, 1].tolist()
        for request in requests
    ]
    assert boxes == [[0, 0, 9, 12]] * len(INPUTS) + [[0, 0, 12, 9]] * len(INPUTS)
