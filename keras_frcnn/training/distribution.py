"""Chooses the devices and processes on which a run computes, and joins the processes of a cluster.

A cluster is described by the environment: by ``TF_CONFIG``, or by Slurm inside ``srun``. Finding it
needs no TensorFlow. ``strategy`` must be called before TensorFlow computes anything, because the
processes can only be joined then.
"""

import contextlib
import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from keras_frcnn.config import Config

_ORDER = ("chief", "worker")  # the first of them writes the run folder
_FIRST_PORT, _NUM_PORTS = 20000, 20000  # of Slurm's jobs, so that two on a node seldom collide
_SLURM_ITEM = re.compile(r"(?:[^,\[]|\[[^\]]*\])+")  # of a list of nodes, split at outer commas


class Place(NamedTuple):
    """The place of this process among those of a run.

    Attributes:
        count: the number of processes.
        number: that of this one, from 0; the first one writes the files.
        source: what describes the cluster, "TF_CONFIG" or "Slurm"; "" for a single process.
    """

    count: int = 1
    number: int = 0
    source: str = ""


def find_place(config: Config) -> Place:
    """Finds the place of this process in the cluster, if the settings ask for one.

    Raises:
        ValueError: If there must be a cluster and nothing describes it, or the description is
            wrong.
    """
    if config.distribution not in ("auto", "multi_worker"):
        return Place()
    place = _of_tf_config(os.environ.get("TF_CONFIG", "")) or _of_slurm(os.environ)
    if place and place.count > 1:
        return place
    if config.distribution == "multi_worker":
        raise ValueError(
            "--distribution=multi_worker needs a cluster of two or more processes. Set TF_CONFIG "
            "for each of them, or start them with srun: see docs/distributed.md"
        )
    return Place()


def _of_tf_config(text):
    """Returns the place that TF_CONFIG describes; None if it is empty."""
    if not text:
        return None
    expected = (
        'TF_CONFIG must be JSON like {"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )
    try:
        values = json.loads(text)
        cluster, task = values["cluster"], values["task"]
        kind, index = task["type"], int(task["index"])
        counts = {name: len(cluster[name]) for name in cluster}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{expected}. Received: {text[:200]!r}") from error
    other = sorted({kind, *counts} - {*_ORDER})
    if other or not 0 <= index < counts.get(kind, 0):
        what = f"tasks named {', '.join(other)}" if other else f"task {kind} {index}"
        raise ValueError(f"{expected}. Received: {what} in {text[:200]!r}")
    before = counts.get("chief", 0) if kind == "worker" else 0
    return Place(sum(counts.values()), before + index, "TF_CONFIG")


def _of_slurm(environment):
    """Returns the place inside Slurm's ``srun``; None elsewhere."""
    try:
        count, number = (int(environment[n]) for n in ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"))
    except (KeyError, ValueError):
        return None
    return Place(count, number, "Slurm")


def slurm_addresses(environment: Mapping[str, str]) -> tuple[list[str], int]:
    """Returns the addresses of all processes of Slurm's ``srun`` by rank, and the rank of this one.

    TensorFlow's own resolver needs nvidia-smi, and sorts the nodes by name: n10 before n9.

    Raises:
        ValueError: If the environment does not say which process is on which node.
    """
    names = ("SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")
    nodes, counts = (environment.get(name, "") for name in names)
    try:
        hosts = [host for item in _SLURM_ITEM.findall(nodes) for host in _expand(item)]
        tasks = []
        for count, repeats in re.findall(r"(\d+)(?:\(x(\d+)\))?", counts):
            tasks += [int(count)] * int(repeats or 1)
        port = _FIRST_PORT + int(environment.get("SLURM_JOB_ID", "0")) % _NUM_PORTS
        pairs = list(zip(hosts, tasks, strict=True))
    except ValueError:
        pairs = []
    addresses = [f"{host}:{port + task}" for host, count in pairs for task in range(count)]
    place = _of_slurm(environment)
    if len(addresses) != place.count:
        received = ", ".join(f"{name}={environment.get(name)}" for name in names)
        raise ValueError(
            f"Slurm must describe the nodes of all {place.count} processes. Received: {received}"
        )
    return addresses, place.number


def _expand(item):
    """Yields the names that an item of Slurm's list of nodes stands for: n[08-10] is n08 to n10."""
    match = re.search(r"\[([^\]]*)\]", item)
    if not match:
        yield item
        return
    for part in match[1].split(","):
        first, _, last = part.partition("-")
        for number in range(int(first), int(last or first) + 1):
            name = f"{item[: match.start()]}{number:0{len(first)}}{item[match.end() :]}"
            yield from _expand(name)


def _take_share_of_gpus(addresses, number):
    """Divides the GPUs of a node among its processes, unless Slurm has done so."""
    import tensorflow as tf

    host = addresses[number].partition(":")[0]
    ranks = [rank for rank, other in enumerate(addresses) if other.partition(":")[0] == host]
    devices = tf.config.list_physical_devices("GPU")
    share = len(devices) // len(ranks)
    if len(ranks) > 1 and share and "SLURM_GPUS_PER_TASK" not in os.environ:
        first = share * ranks.index(number)
        tf.config.set_visible_devices(devices[first : first + share], "GPU")


def strategy(config: Config):
    """Returns the ``tf.distribute.Strategy`` of a run; None if it has a single replica.

    Raises:
        ValueError: See ``find_place``; and if the batches cannot be divided, or TensorFlow has
            computed something before the processes of a cluster were joined.
    """
    place = find_place(config)
    found = _join(place.source) if place.count > 1 else strategy_of_machine(config)
    count = found.num_replicas_in_sync if found else 1
    for batch_size in config.phase_batch_sizes:
        if batch_size % count:
            names = "--batch_size and --alternating_batch_sizes"
            raise ValueError(
                f"{names if len(config.phase_batch_sizes) > 1 else '--batch_size'} must be "
                f"a multiple of {count}, the number of replicas: a batch is divided among them. "
                f"Received: {batch_size}"
            )
    return found if count > 1 else None


def strategy_of_machine(config: Config):
    """Returns the strategy over the devices of this machine; None if one of them is used."""
    if config.distribution not in ("auto", "mirrored"):
        return None
    found = _all_devices(on_cpu=config.distribution == "mirrored")
    return found if found.num_replicas_in_sync > 1 else None


def scope(found) -> contextlib.AbstractContextManager:
    """Returns the context in which a model must be made for a strategy, or for None."""
    return found.scope() if found else contextlib.nullcontext()


@functools.cache
def _join(source):
    """Joins the processes of a cluster, once."""
    import tensorflow as tf

    if source == "Slurm":
        addresses, number = slurm_addresses(os.environ)
        _take_share_of_gpus(addresses, number)
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": addresses}), task_type="worker", task_id=number
        )
    else:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        raise ValueError(
            "the processes of a cluster must be joined before TensorFlow computes anything. Call "
            "keras_frcnn.training.distribution.strategy first"
        ) from error


@functools.cache
def _all_devices(on_cpu):
    """Returns a strategy over all GPUs, or else over all logical CPU devices if these may be used.

    There is more than one of these only if TensorFlow was told to divide the CPU.
    """
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU")
    if not devices and on_cpu:
        devices = tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@contextlib.contextmanager
def naming_lost_processes(place: Place) -> Iterator[None]:
    """Turns TensorFlow's errors about a process that has gone into a sentence.

    Raises:
        ValueError: If another process of the cluster has ended.
    """
    if place.count == 1:
        yield
        return
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        is_lost = isinstance(error, tf.errors.UnavailableError | tf.errors.AbortedError)
        if not is_lost and "ollective" not in error.message and "oordination" not in error.message:
            raise  # a fault of this process
        raise ValueError(
            f"another of the {place.count} processes of the run has ended, so process "
            f"{place.number} ends too. Its own output says why. The same command on all of them "
            f"continues from the last checkpoint. TensorFlow says: {error.message.splitlines()[0]}"
        ) from error
