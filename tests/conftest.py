"""Settings of every test: CPU only, a share of the cores, fixed seeds, and float32."""

import os
import random
import signal
import sys

# TensorFlow reads these only once, when it is imported.
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_threads = str(max(1, len(os.sched_getaffinity(0)) // _workers))
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(_name, _threads)

# Tests send this signal, which is ignored if the tests themselves run under nohup.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import numpy as np  # noqa: E402  (the settings above must come first)
import pytest  # noqa: E402


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz",
        type=int,
        default=200,
        help="number of damaged copies per reader in tests/fuzzing; 10000 for a long run",
    )


@pytest.fixture(autouse=True)
def known_seeds_and_policy():
    """Seeds Python and NumPy before a test, and resets the dtype policy after it.

    Keras draws initial weights and dropout from Python's seed. TensorFlow's own is left alone: to
    set it drops every compiled kernel and graph, and each test would compile a shared model anew.
    """
    random.seed(0)
    np.random.seed(0)
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")
