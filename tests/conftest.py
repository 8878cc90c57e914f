"""What every test runs under: the CPU, its share of the cores, known seeds, one number format."""

import os
import random
import sys

# Before TensorFlow is imported, since it reads these once.
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_threads = str(max(1, len(os.sched_getaffinity(0)) // _workers))
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(_name, _threads)

import numpy as np  # noqa: E402  (after the settings above)
import pytest  # noqa: E402


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz",
        type=int,
        default=200,
        help="damaged copies that tests/fuzzing gives to each reader; 10000 for a long run",
    )


@pytest.fixture(autouse=True)
def known_seeds_and_policy():
    """Seeds every source of randomness before a test; undoes a test's number format after it."""
    random.seed(0)
    np.random.seed(0)
    if "keras" in sys.modules:  # tests of the command line do without TensorFlow
        sys.modules["keras"].utils.set_random_seed(0)
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")
