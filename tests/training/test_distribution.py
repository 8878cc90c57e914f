"""The place of a process in a cluster, as the environment describes it."""

import json

import pytest

from keras_frcnn.config import Config
from keras_frcnn.training.distribution import Place, find_place

AUTO, CLUSTER = Config(distribution="auto"), Config(distribution="multi_worker")
TWO = {"worker": ["a:1", "b:1"]}


@pytest.fixture
def describe(monkeypatch):
    """Returns a function that sets the variables of the environment."""
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)

    def describe(cluster=None, kind="worker", index=0, **variables):
        if cluster:
            task = {"type": kind, "index": index}
            variables["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return describe


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ({}, Place()),
        ({"cluster": TWO, "index": 1}, Place(2, 1, "TF_CONFIG")),
        ({"cluster": {"worker": ["a:1"]}}, Place()),
        ({"cluster": TWO | {"chief": ["c:1"]}, "kind": "chief"}, Place(3, 0, "TF_CONFIG")),
        ({"cluster": TWO | {"chief": ["c:1"]}, "index": 1}, Place(3, 2, "TF_CONFIG")),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}, Place(4, 3, "Slurm")),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Place()),
    ],
    ids=str,
)
def test_the_place_in_a_cluster(described, expected, describe):
    describe(**described)
    assert find_place(AUTO) == expected
    assert find_place(Config()) == find_place(Config(distribution="mirrored")) == Place()


def test_a_cluster_must_be_described(describe):
    describe()
    with pytest.raises(ValueError, match="--distribution=multi_worker needs a cluster of two"):
        find_place(CLUSTER)


@pytest.mark.parametrize(
    ("described", "received"),
    [
        ({"TF_CONFIG": "no"}, "Received: 'no'"),
        ({"TF_CONFIG": '{"cluster": {}}'}, "Received: '{\"cluster\": {}}'"),
        ({"cluster": TWO, "index": 2}, "Received: task worker 2 in"),
        ({"cluster": TWO | {"ps": ["c:1"]}}, "Received: tasks named ps in"),
    ],
    ids=str,
)
def test_a_wrong_description_is_named(described, received, describe):
    describe(**described)
    with pytest.raises(ValueError, match="TF_CONFIG must be JSON like") as caught:
        find_place(CLUSTER)
    assert received in str(caught.value)
