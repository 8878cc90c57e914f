"""A stand-in for TensorFlow Serving, which no test machine has: the same messages, in Python.

It serves the highest version of a folder in a session of its own graph, as TensorFlow Serving does,
after sending the version its warm-up requests. It speaks gRPC and REST as far as the tests need it.
"""

import base64
import contextlib
import http.server
import json
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc

WARMUP = "assets.extra/tf_serving_warmup_requests"
_POLL_SECONDS = 0.05


class Version:
    """A SavedModel in a session.

    Args:
        folder: the SavedModel.
        warms_up: whether to send its warm-up requests now.
    """

    def __init__(self, folder, warms_up=True):
        self.number = int(folder.name) if folder.name.isdecimal() else 0
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        self._signatures = loaded.signature_def
        self._calls = {}
        self.num_warmups = 0
        if warms_up and (folder / WARMUP).exists():
            for record in tf.compat.v1.io.tf_record_iterator(str(folder / WARMUP)):
                log = prediction_log_pb2.PredictionLog.FromString(record)
                self.answer(log.predict_log.request)
                self.num_warmups += 1

    def answer(self, request):
        """Answers a ``PredictRequest``; raises what TensorFlow raises."""
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        outputs = self.run(request.model_spec.signature_name or "serving_default", inputs)
        response = predict_pb2.PredictResponse()
        response.model_spec.version.value = self.number
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def run(self, signature, inputs):
        """Runs a signature on arrays."""
        definition = self._signatures[signature]
        if inputs.keys() != definition.inputs.keys() - definition.defaults.keys():
            inputs = {
                name: tf.make_ndarray(proto) for name, proto in definition.defaults.items()
            } | inputs
        if inputs.keys() != definition.inputs.keys():
            raise tf.errors.InvalidArgumentError(None, None, "input size does not match signature")
        names = sorted(inputs)
        key = signature, *names
        if key not in self._calls:
            self._calls[key] = self._session.make_callable(
                [info.name for info in definition.outputs.values()],
                feed_list=[definition.inputs[name].name for name in names],
            )
        values = self._calls[key](*(inputs[name] for name in names))
        return dict(zip(definition.outputs, values, strict=True))


class Batcher:
    """Joins requests to one signature that wait for each other, as TensorFlow Serving does.

    Args:
        run: answers a signature's inputs.
        max_batch_size: rows that are run at once, at most.
    """

    def __init__(self, run, max_batch_size):
        self._run, self._max_batch_size = run, max_batch_size
        self._waiting, self._changed = [], threading.Condition()
        self._is_busy = False

    def __call__(self, signature, inputs):
        size = len(next(iter(inputs.values()), ()))
        request = {"signature": signature, "inputs": inputs, "size": size}
        with self._changed:
            self._waiting.append(request)
            while self._is_busy and "answer" not in request:
                self._changed.wait()
            if "answer" not in request:
                self._is_busy = True
                batch = self._take(request)
        if "answer" not in request:
            self._answer(batch)
        if isinstance(request["answer"], Exception):
            raise request["answer"]
        return request["answer"]

    def _take(self, first):
        """Returns a request, and those waiting that fit into a batch with it."""
        batch, size = [first], first["size"]
        self._waiting.remove(first)
        for other in list(self._waiting):
            is_like = other["signature"] == first["signature"] == "serve_bytes"
            if is_like and size + other["size"] <= self._max_batch_size:
                self._waiting.remove(other)
                batch.append(other)
                size += other["size"]
        return batch

    def _answer(self, batch):
        try:
            names = batch[0]["inputs"]
            joined = {
                name: np.concatenate([one["inputs"][name] for one in batch]) for name in names
            }
            if len(batch) == 1:
                joined = batch[0]["inputs"]
            answer = self._run(batch[0]["signature"], joined)
            ends = np.cumsum([one["size"] for one in batch])
            answers = [
                {n: v[end - one["size"] : end] for n, v in answer.items()}
                if len(batch) > 1
                else answer
                for one, end in zip(batch, ends, strict=True)
            ]
        except Exception as error:
            answers = [error] * len(batch)
        with self._changed:
            for one, answer in zip(batch, answers, strict=True):
                one["answer"] = answer
            self._is_busy = False
            self._changed.notify_all()


class Server(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Serves a folder under the name "detector", by gRPC and REST, while its ``with`` block runs.

    Args:
        base: the folder.
        max_batch_size: how many images in requests that wait are joined.

    Attributes:
        grpc: "localhost:port".
        rest: "http://localhost:port".
        failures: how many of the next requests are answered with UNAVAILABLE.
        delay: seconds by which every answer is held back.
        num_active, most_active: requests that are answered at once: now, and at most so far.
    """

    def __init__(self, base, max_batch_size=1):
        self._base = Path(base)
        self._max_batch_size = max_batch_size
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self.failures, self.delay, self.num_active, self.most_active = 0, 0.0, 0, 0
        self.version = self._newest(0)

    def __enter__(self):
        self._grpc = grpc.server(futures.ThreadPoolExecutor(32))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._grpc)
        self.grpc = f"localhost:{self._grpc.add_insecure_port('localhost:0')}"
        self._grpc.start()
        handler = type("Handler", (_Handler,), {"model": self})
        self._http = http.server.ThreadingHTTPServer(("localhost", 0), handler)
        self.rest = f"http://localhost:{self._http.server_port}"
        self._threads = [threading.Thread(target=f) for f in (self._http.serve_forever, self._poll)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._stopped.set()
        self._grpc.stop(None)
        self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            thread.join()

    def Predict(self, request, context):
        try:
            with self.answering():
                if request.model_spec.name != "detector":
                    context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found")
                return self.version.answer(request)
        except tf.errors.OpError as error:
            context.abort(grpc.StatusCode(_status(error)), error.message)

    @contextlib.contextmanager
    def answering(self):
        with self._lock:
            self.num_active += 1
            self.most_active = max(self.most_active, self.num_active)
            fails = self.failures > 0
            self.failures -= fails
        try:
            time.sleep(self.delay)
            if fails:
                raise tf.errors.UnavailableError(None, None, "The batch scheduling queue is full")
            yield
        finally:
            with self._lock:
                self.num_active -= 1

    def _poll(self):
        while not self._stopped.wait(_POLL_SECONDS):
            self.version = self._newest(self.version.number) or self.version

    def _newest(self, number):
        """Returns the highest version above a number, or None. It is loaded before it is served."""
        numbers = [int(path.name) for path in self._base.iterdir() if path.name.isdecimal()]
        newest = max(numbers, default=0)
        if newest <= number:
            return None
        version = Version(self._base / str(newest))
        if self._max_batch_size > 1:
            version.run = Batcher(version.run, self._max_batch_size)
        return version


def _status(error):
    """Returns gRPC's code of an error of TensorFlow, which has the same numbers."""
    return next(code.value for code in grpc.StatusCode if code.value[0] == error.error_code)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers REST requests in TensorFlow Serving's row form."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/models/detector:predict":
            return self._send(404, {"error": "Not found"})
        try:
            with self.model.answering():
                rows = content["instances"]
                inputs = {
                    name: np.array([_plain(row[name]) for row in rows], object) for name in rows[0]
                }
                answer = self.model.version.run(content["signature_name"], inputs)
        except tf.errors.OpError as error:
            code = 503 if isinstance(error, tf.errors.UnavailableError) else 400
            return self._send(code, {"error": error.message})
        values = {name: value.tolist() for name, value in answer.items()}
        predictions = [
            {name: value[row] for name, value in values.items()} for row in range(len(rows))
        ]
        return self._send(200, {"predictions": predictions})

    def _send(self, code, value):
        body = json.dumps(value, default=lambda text: text.decode()).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def _plain(value):
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value
