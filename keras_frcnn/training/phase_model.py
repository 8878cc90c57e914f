"""Builds the model with which a phase of a run starts."""

import os
from pathlib import Path

import keras
import tensorflow as tf

from keras_frcnn.console import Console
from keras_frcnn.models.build import build_detector
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training.optimizers import make_optimizer, swap_averages
from keras_frcnn.training.schemes import MODEL_PARTS, Phase
from keras_frcnn.weights import checkpoint
from keras_frcnn.weights.imagenet import load_imagenet
from keras_frcnn.weights.start_checkpoint import load_start


def build_phase_model(
    phase: Phase, class_names, console: Console, is_resumed: bool = False
) -> FasterRCNN:
    """Builds and compiles the model of a phase, with the weights at the start of the phase.

    Args:
        phase: the phase.
        class_names: names of the classes, in the order of the labels.
        console: the console to print to.
        is_resumed: whether a checkpoint will replace all weights, so that none need be loaded.

    Raises:
        ValueError: If initial weights are missing or do not fit. The error names their file.
    """
    config = phase.config
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    model = build_detector(phase.model_config, class_names)
    origin = "weights of the run" if is_resumed else _load_initial_weights(model, phase, console)
    prepare(model, phase)
    _print_description(model, phase, origin, console)
    optimizer = make_optimizer(config, backbone_weights(model))
    model.compile(optimizer, jit_compile=config.jit_compile)
    model.optimizer.build(model.trainable_variables)
    return model


def restore(model: FasterRCNN, path: str | os.PathLike) -> None:
    """Loads a checkpoint of the run into its model, to go on with the training.

    The checkpoint holds the averaged weights, if there are any, and the others in their place.

    Raises:
        ValueError: naming the file, if it does not fit.
    """
    checkpoint.load_weights(model, path)
    swap_averages(model)


def backbone_weights(model: FasterRCNN) -> list[keras.Variable]:
    """Returns the trainable weights of the backbone, and of the RPN's own if it has one."""
    backbones = [model.backbone, model.rpn_backbone]
    return [w for one in backbones if one is not None for w in one.trainable_weights]


def prepare(model: FasterRCNN, phase: Phase) -> None:
    """Prepares a model with the run's initial weights for the start of a phase.

    This copies parts from the phase's source, freezes the parts that the phase does not train, and
    sets the model's step.

    Raises:
        ValueError: If the source is missing or does not fit.
    """
    if phase.source:
        source = checkpoint.load(Path(phase.config.output_dir) / phase.source)
        for name in phase.copied:
            getattr(model, name).set_weights(getattr(source, name).get_weights())
    for name in MODEL_PARTS:
        part = getattr(model, name)
        if part is not None and name not in phase.trained:
            part.trainable = False
    model.step.assign(phase.first_step)


def _load_initial_weights(model, phase, console):
    """Loads the initial weights of the run and returns a description of them."""
    config = phase.config
    if config.start_checkpoint:
        report = load_start(model, config.start_checkpoint)
        if not phase.first_step:  # The report is the same in later phases.
            console.print(f"start from {config.start_checkpoint}")
            for line in report:
                console.print(f"  {line}")
        return f"weights of {config.start_checkpoint}"
    layers = load_imagenet(model, config)
    return f"{len(layers)} layers from {config.backbone_weights}" if layers else "random weights"


def _print_description(model, phase, origin, console):
    config = phase.config
    if phase.name:
        copied = f"; {', '.join(phase.copied)} from {phase.source}" if phase.source else ""
        console.print(
            f"{phase.name}: trains {', '.join(phase.trained)} for {config.steps} steps{copied}"
        )
    if config.resolved_warmup_steps != config.warmup_steps:
        console.print(
            f"warm-up: {config.resolved_warmup_steps} steps instead of --warmup_steps="
            f"{config.warmup_steps}, because training takes only {config.steps} steps"
        )
    late = [step for step in config.lr_boundaries if step >= config.steps]
    if late and config.lr_schedule == "piecewise":
        flag = "alternating_lr_boundaries" if config.alternating_lr_boundaries else "lr_boundaries"
        console.print(
            f"learning rate: it does not drop at step {', '.join(map(str, late))} of --{flag}, "
            f"because training takes only {config.steps} steps"
        )
    console.print(
        f"model: {config.backbone}, {config.precision}, {model.count_params() / 1e6:.1f} M "
        f"weights; {origin}; frozen: {', '.join(model.backbone.frozen) or 'nothing'}"
    )
