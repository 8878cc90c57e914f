"""The place of a process in a cluster, as the environment describes it."""

import json

import pytest

from keras_frcnn.config import Config
from keras_frcnn.training.distribution import Place, find_place, slurm_addresses

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


@pytest.mark.parametrize(
    ("nodes", "tasks", "hosts"),
    [
        ("localhost", "2", ["localhost:22345", "localhost:22346"]),
        ("n[9-11]", "1(x3)", ["n9:22345", "n10:22345", "n11:22345"]),  # n10 after n9
        ("b-1,a[08-09,2]", "1(x2),2,1", ["b-1", "a08", "a09", "a09", "a2"]),
        ("r[1-2]n[3,5]", "1(x4)", ["r1n3", "r1n5", "r2n3", "r2n5"]),
    ],
)
def test_slurm_gives_addresses_by_rank(nodes, tasks, hosts):
    """Port 20000 and the number of the job, and one more for each process of a node."""
    environment = {
        "SLURM_STEP_NUM_TASKS": str(len(hosts)),
        "SLURM_PROCID": "1",
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURM_JOB_ID": "42345",
    }
    addresses, number = slurm_addresses(environment)
    assert number == 1
    if ":" not in hosts[0]:
        ports = [22345 + hosts[:rank].count(host) for rank, host in enumerate(hosts)]
        hosts = [f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)]
    assert addresses == hosts


@pytest.mark.parametrize(("nodes", "tasks"), [("", ""), ("n[1-2]", "1"), ("n[x]", "2"), ("n", "3")])
def test_slurm_must_name_the_nodes(nodes, tasks):
    environment = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}
    environment |= {"SLURM_STEP_NODELIST": nodes, "SLURM_STEP_TASKS_PER_NODE": tasks}
    with pytest.raises(ValueError, match="Slurm must describe the nodes of all 2 processes"):
        slurm_addresses(environment)
