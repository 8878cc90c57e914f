"""Every number in a checkpoint, to compare runs to the bit."""

import io
import zipfile

import h5py
import numpy as np


def state_of(path) -> dict[str, np.ndarray]:
    """Returns every array in a checkpoint, the optimizer's too, by its path in the file."""
    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    state = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            state[name] = item[()]

    with h5py.File(content) as file:
        file.visititems(collect)
    return state


def assert_same_state(one, other) -> None:
    """Asserts that two checkpoints hold the same numbers, to the bit."""
    one, other = state_of(one), state_of(other)
    assert sorted(one) == sorted(other)
    assert sum(name.startswith("optimizer") for name in one) > 5
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)
