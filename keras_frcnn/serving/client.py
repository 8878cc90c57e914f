"""Asks an exported detector: on a server by gRPC or REST, or as a SavedModel in this process.

client = Client("grpc://localhost:8500/detector")  # or "http://localhost:8501/v1/models/detector"
for found in client.detect(["a.jpg", "b.png"]):
    print(found)
"""

import base64
import collections
import contextlib
import http.client
import io
import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_frcnn.models.detections import ImageDetections

_SIGNATURE, _INPUT = "serve_bytes", "image_bytes"
_OUTPUTS = (
    *("detection_boxes_pixels", "detection_scores", "detection_classes"),
    *("detection_class_names", "num_detections", "status"),
)
_FORMS = "grpc://host:port/model or http(s)://host:port/v1/models/model"
_AHEAD = 2  # images taken ahead, for each request under way
_FIRST_PAUSE = 0.25  # seconds before the first repetition; doubled for each further one


class Client:
    """Sends image files to a served detector, each in a request of its own.

    A request is repeated if the server is away or busy, or does not answer in time.

    Args:
        server: ``grpc://host:port/model`` or ``http(s)://host:port/v1/models/model``.
        timeout: seconds after which a request is given up.
        retries: how often a request is repeated.
        concurrency: how many requests are under way at once.

    Raises:
        ValueError: If ``server`` has another form.
    """

    def __init__(self, server: str, timeout: float = 30.0, retries: int = 3, concurrency: int = 4):
        self._server, self._timeout, self._retries = server, timeout, retries
        self._concurrency = concurrency
        self._ask, self._close = _transport(server)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: Any) -> None:
        self._close()

    def detect(
        self, images: Iterable[str | os.PathLike | bytes | np.ndarray]
    ) -> Iterator[ImageDetections | ValueError]:
        """Detects objects on images.

        Args:
            images: names of JPEG and PNG files, their contents, or uint8 arrays [H, W, 3]. Only a
                few of them are taken ahead of the answers.

        Yields:
            For each image, in order, its detections; or an error with a sentence that says why the
            image cannot be read.

        Raises:
            ValueError: If the server cannot be asked, refuses a request, or keeps failing.
        """
        pool = ThreadPoolExecutor(self._concurrency)
        asked = collections.deque()
        try:
            for image in images:
                asked.append(pool.submit(self._detect_one, image))
                if len(asked) >= _AHEAD * self._concurrency:
                    yield asked.popleft().result()
            while asked:
                yield asked.popleft().result()
        finally:  # also if the caller stops iterating
            pool.shutdown(cancel_futures=True)

    def _detect_one(self, image):
        is_file = isinstance(image, str | os.PathLike)
        name = str(image) if is_file else "an image"
        try:
            content = Path(image).read_bytes() if is_file else _png(image)
        except OSError as error:
            return ValueError(f"{name}: unreadable image: {error.strerror}")
        answer = self._patiently(content, name)
        status = answer["status"]
        if status:
            return ValueError(f"{name}: {status}")
        return to_detections(answer, None if isinstance(image, bytes) else image)

    def _patiently(self, content: bytes, name: str) -> Mapping[str, Any]:
        for number in range(1 + self._retries):
            if number:
                time.sleep(_FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1.5))
            try:
                return self._ask(content, self._timeout)
            except _Failure as error:
                failure = error
                if not error.is_passing:
                    break
        raise ValueError(f"{self._server} has not answered for {name}: {failure}")


def _png(image: bytes | np.ndarray) -> bytes:
    if isinstance(image, bytes):
        return image
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG", compress_level=1)
    return content.getvalue()


class _Failure(Exception):
    """A request without an answer. ``is_passing`` says whether it may succeed later."""

    def __init__(self, reason: Any, is_passing: bool):
        super().__init__(str(reason))
        self.is_passing = is_passing


def _transport(server: str) -> tuple[Callable, Callable[[], None]]:
    """Returns a function that sends a file and returns its answer, and one that closes."""
    url = urllib.parse.urlsplit(server)
    path = url.path.strip("/")
    if url.scheme == "grpc" and url.netloc and path and "/" not in path:
        return _grpc(url.netloc, path)
    if url.scheme in ("http", "https") and url.netloc and path:
        return _rest(f"{server.rstrip('/')}:predict"), lambda: None
    raise ValueError(f"the server must be {_FORMS}. Received: {server!r}")


def _grpc(target: str, model: str) -> tuple[Callable, Callable[[], None]]:
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    channel = grpc.insecure_channel(target)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    passing = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED

    def ask(content, timeout):
        request = predict_pb2.PredictRequest(output_filter=_OUTPUTS)
        request.model_spec.name, request.model_spec.signature_name = model, _SIGNATURE
        request.inputs[_INPUT].CopyFrom(tf.make_tensor_proto([content]))
        try:
            outputs = stub.Predict(request, timeout).outputs
        except grpc.RpcError as error:
            raise _Failure(error.details(), error.code() in passing) from error
        answer = {name: tf.make_ndarray(outputs[name])[0] for name in _OUTPUTS}
        answer["status"] = answer["status"].decode()
        names = [name.decode() for name in answer["detection_class_names"]]
        return answer | {"detection_class_names": names}

    return ask, channel.close


def _rest(url: str) -> Callable:
    def ask(content, timeout):
        instance = {_INPUT: {"b64": base64.b64encode(content).decode()}}
        body = json.dumps({"signature_name": _SIGNATURE, "instances": [instance]}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return json.load(response)["predictions"][0]
        except urllib.error.HTTPError as error:
            reason = error.reason
            with contextlib.suppress(ValueError, LookupError, TypeError):
                reason = json.load(error)["error"]
            raise _Failure(reason, error.code in (429, 503, 504)) from error
        except (OSError, http.client.HTTPException) as error:  # away, or not in time
            raise _Failure(getattr(error, "reason", error), is_passing=True) from error
        except (ValueError, LookupError, TypeError) as error:
            raise _Failure("the answer has another form", is_passing=False) from error

    return ask


def to_detections(
    answer: Mapping[str, Any], image: Any, class_names: Sequence[str] = ()
) -> ImageDetections:
    """Returns a served answer for one image as the detections that ``FasterRCNN.detect`` gives.

    Args:
        answer: the outputs without their first axis.
        image: what the detections are said to belong to; None if it cannot be drawn on.
        class_names: the names of the labels. By default, those that the answer names.
    """
    count = int(answer["num_detections"])
    labels = np.array(answer["detection_classes"][:count], np.int32) - 1
    if not class_names:
        class_names = [""] * (1 + max(labels, default=-1))  # of other classes nothing is known
        for label, name in zip(labels, answer["detection_class_names"], strict=False):
            class_names[label] = name
    return ImageDetections(
        np.array(answer["detection_boxes_pixels"][:count], np.float32).reshape(-1, 4),
        np.array(answer["detection_scores"][:count], np.float32),
        labels,
        tuple(class_names),
        image,
    )


class SavedModel:
    """An exported detector.

    A SavedModel is a program of TensorFlow, which may read and write files: load only those of
    people whom you trust.

    Args:
        folder: the numbered folder with ``saved_model.pb`` in it.

    Attributes:
        class_names: the class names.

    Raises:
        ValueError: If the folder holds no SavedModel, or not one of this package.
    """

    def __init__(self, folder: str | os.PathLike):
        import tensorflow as tf  # the client of a server needs it only for gRPC

        if not Path(folder, "saved_model.pb").is_file():
            raise ValueError(
                f"a SavedModel must be a folder with a file saved_model.pb. Received: {folder}"
            )
        self._loaded = tf.saved_model.load(str(folder))  # its signatures need it
        signatures = self._loaded.signatures
        if not {"serving_default", "describe"} <= signatures.keys():
            raise ValueError(
                f"{folder}: a SavedModel needs the signatures serving_default and describe, as "
                f"keras-frcnn export writes them. Received: {', '.join(signatures) or 'none'}"
            )
        self._detect = signatures["serving_default"]
        names = signatures["describe"]()["class_names"].numpy()
        self.class_names = tuple(name.decode() for name in names)

    def detect(self, image: np.ndarray) -> ImageDetections:
        """Detects objects on an image, uint8 [H, W, 3], RGB."""
        import tensorflow as tf

        outputs = self._detect(input_tensor=tf.constant(image[np.newaxis]))
        answer = {name: value.numpy()[0] for name, value in outputs.items()}
        return to_detections(answer, image, self.class_names)
