"""Holds clients against a served detector: times, images/s and memory, with bad requests between.

  python -m benchmarks.load --saved_model=served/detector/1
  python -m benchmarks.load --saved_model=served/detector/1 --clients=1,4,16 --seconds=30

The server is the stand-in of the tests, which runs in a process of its own and speaks gRPC as
TensorFlow Serving does. Every number of clients is held against it without and with batching, in
which requests that wait are joined. Every eighth request is a bad one: an empty, cut, mutated or
huge file, or an array of the wrong type or rank. The request after it must be answered as before.
Standard output gets one line of JSON for each case.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.arguments import count, list_of

_BAD_EVERY = 8
_MAX_BATCH = 16
_KIB = 1024


def main(argv: list[str] | None = None) -> int:
    """Runs all cases; returns 1 if a good request failed or was answered differently."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.load",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--saved_model", required=True, help="the folder of an exported SavedModel")
    parser.add_argument("--clients", type=list_of(count), default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each case")
    parser.add_argument("--size", type=count, default=500, help="width of the images in pixels")
    options = parser.parse_args(argv)
    is_sound = True
    for batches, clients in itertools.product((False, True), options.clients):
        with serving(options.saved_model, batches) as (address, pid):
            result = hold(address, pid, clients, options.seconds, make_files(options.size))
        print(json.dumps({"clients": clients, "batching": batches, **result}), flush=True)
        is_sound &= not result["failed"]
    return int(not is_sound)


@contextlib.contextmanager
def serving(saved_model: str, batches: bool):
    """Serves a SavedModel in a process of its own; yields its gRPC address and its number."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(saved_model, batches, theirs))
    process.start()
    try:
        yield ours.recv(), process.pid
    finally:
        ours.send("stop")
        process.join()


def _serve(saved_model, batches, pipe):
    from tests.serving import standin

    with tempfile.TemporaryDirectory() as base:
        shutil.copytree(saved_model, Path(base) / "1")
        with standin.Server(base, _MAX_BATCH if batches else 1) as server:
            pipe.send(f"grpc://{server.grpc}/detector")
            pipe.recv()


def make_files(width: int) -> list[bytes]:
    """Returns JPEG files of four unlike sizes, up to a width in pixels."""
    import tensorflow as tf

    from keras_frcnn.serving.export import synthetic_images

    sizes = [(width * 3 // 4, width), (width, width * 3 // 4), (width // 2, width), (width, width)]
    return [tf.io.encode_jpeg(image).numpy() for image in synthetic_images(sizes)]


def make_bad_file(rng: np.random.Generator, files: list[bytes]) -> bytes:
    """Returns a file that is empty, cut, mutated, or claims to have a billion pixels."""
    file = bytearray(files[rng.integers(len(files))])
    kind = rng.integers(4)
    if kind == 0:
        return b""
    if kind == 1:
        return bytes(file[: rng.integers(1, len(file))])
    if kind == 2:
        for place in rng.integers(0, len(file), 20):
            file[place] = rng.integers(256)
        return bytes(file)
    frame = file.find(b"\xff\xc0")  # the header that holds the size
    file[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    return bytes(file)


def hold(address: str, pid: int, clients: int, seconds: float, files: list[bytes]) -> dict:
    """Holds clients against a server for a time.

    Args:
        address: as for ``serving.client.Client``.
        pid: the number of the server's process, whose memory is measured.
        clients: how many send requests at once, each one after the other.
        seconds: how long.
        files: the images.

    Returns:
        ``requests`` that were good, ``bad`` ones, ``failed`` good ones, ``p50``, ``p95`` and
        ``p99`` in milliseconds, ``images_per_s``, and the server's memory ``mib_before`` and
        ``mib_after``.
    """
    from keras_frcnn.serving.client import Client

    with Client(address, timeout=120.0) as client:
        expected = [_found(answer) for answer in client.detect(files)]  # this warms it up, too
    before = memory(pid)
    times, bad, failed = [], [], []
    end = time.monotonic() + seconds

    def work(number):
        rng = np.random.default_rng(number)
        with Client(address, timeout=120.0, concurrency=1) as client:
            for request in itertools.count():
                if time.monotonic() > end:
                    return
                if request % _BAD_EVERY == _BAD_EVERY - 1:
                    send_bad(address, client, rng, files)
                    bad.append(number)
                    continue
                row = int(rng.integers(len(files)))
                started = time.perf_counter()
                try:
                    (answer,) = client.detect([files[row]])
                    is_right = agree(_found(answer), expected[row])
                except (ValueError, AttributeError) as error:
                    print(f"a good request failed: {error}", file=sys.stderr)
                    is_right = False
                times.append(1000 * (time.perf_counter() - started))
                if not is_right:
                    failed.append(row)

    started = time.monotonic()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    percentiles = np.percentile(times, [50, 95, 99]) if times else [float("nan")] * 3
    return {
        "requests": len(times),
        "bad": len(bad),
        "failed": len(failed),
        **{f"p{p}": round(float(v), 1) for p, v in zip((50, 95, 99), percentiles, strict=True)},
        "images_per_s": round(len(times) / (time.monotonic() - started), 2),
        "mib_before": before,
        "mib_after": memory(pid),
    }


def send_bad(address: str, client, rng: np.random.Generator, files: list[bytes]) -> None:
    """Sends a request that is a mistake. Whatever the server answers is right, but an answer."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    if rng.integers(3):
        list(client.detect([make_bad_file(rng, files)]))
        return
    arrays = np.zeros((1, 8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((1, 3, 8, 8))
    target, model = address.removeprefix("grpc://").split("/")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["input_tensor"].CopyFrom(tf.make_tensor_proto(arrays[rng.integers(3)]))
    with grpc.insecure_channel(target) as channel, contextlib.suppress(grpc.RpcError):
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, 120.0)


def agree(found, expected) -> bool:
    """Says whether two answers have the same classes, and boxes within half a pixel."""
    return found[0] == expected[0] and bool(np.all(np.abs(found[1] - expected[1]) <= 0.5))


def _found(answer):
    return answer.labels.tolist(), answer.boxes


def memory(pid: int) -> int:
    """Returns the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) // _KIB


if __name__ == "__main__":
    sys.exit(main())
