"""Takes one step of a run again, from the checkpoint before it, and keeps its tensors."""

import os
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.console import Console
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training import run_folder, schemes
from keras_frcnn.training.phase_model import build_phase_model, restore
from keras_frcnn.training.run_data import load_data
from keras_frcnn.training.steps import divergence
from keras_frcnn.training.steps.batches import Batches
from keras_frcnn.training.steps.recovery import Recovery
from keras_frcnn.training.steps.step import NotFinite, TrainingStep
from keras_frcnn.weights import checkpoint


def replay(config: Config, number: int, console: Console, tensors_file: str = "") -> FasterRCNN:
    """Takes one step of a run again.

    1. The nearest whole checkpoint before the step is loaded, or the phase begins anew.
    2. The steps in between are taken again, with the same batches and the same draws.
    3. The step is taken and described on the console.

    On the same machine, with ``deterministic`` on, everything is the run's to the bit, if the
    settings have not changed since the checkpoint. Nothing is written to the run folder.

    Args:
        config: the settings of the run, with ``precision`` resolved.
        number: the step, from 1 on.
        console: the console to print to.
        tensors_file: an .npz file for the tensors of the step: those of ``divergence.tensors_of``,
            and the losses and gradients, which are the run's own. If empty, none is written.

    Returns:
        The model after the step.

    Raises:
        ValueError: If the run has no such step, or data or a checkpoint are wrong.
    """
    phase = next((p for p in schemes.phases(config) if p.first_step < number <= p.last_step), None)
    if phase is None:
        raise ValueError(
            f"--step must be one of the {config.total_steps} steps of the run. Received: {number}"
        )
    train_data, _ = load_data(config.replace(eval_split=("-",)), console)
    before = run_folder.checkpoints(config.output_dir, phase.first_step, number - 1)
    start = next((path for path in before if not checkpoint.damage(path)), None)
    model = build_phase_model(phase, train_data.class_names, console, start is not None)
    if start:
        restore(model, start)
    console.print(f"From step {int(model.step.numpy())} of {start or 'the beginning'}")
    taken = int(model.step.numpy())
    batches = Batches(model, phase, train_data, taken, number - taken)
    step = TrainingStep(model, config, batches.spec)
    with tempfile.TemporaryDirectory() as folder:
        run = Recovery(step, phase, batches, console, Path(folder))
        while int(model.step.numpy()) < number - 1:
            run.take(*next(batches))
        (data,) = next(batches)
        found = NotFinite(data, *step.compute(data)[:2])
        console.print(divergence.text_of(divergence.report(model, found, train_data.records)))
        if tensors_file:
            _write(tensors_file, model, found)
            console.print(f"Tensors: {tensors_file}")
        run.take(data)
    return model


def _write(path, model, found):
    """Writes the tensors of a step as float32; repeated names get a number."""
    tensors = list(divergence.tensors_of(model, found.data))
    tensors += [(f"loss {name}", value) for name, value in found.losses.items()]
    gradients = zip(model.trainable_weights, found.gradients, strict=True)
    tensors += [(f"gradient {weight.path}", value) for weight, value in gradients]
    arrays = {}
    for name, tensor in tensors:
        same = sum(one.partition("#")[0] == name for one in arrays)
        arrays[f"{name}#{same + 1}" if same else name] = tf.cast(tensor, tf.float32).numpy()
    part = Path(path).with_name(f".{Path(path).name}.part")
    try:
        with part.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
