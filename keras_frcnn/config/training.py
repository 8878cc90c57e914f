"""Settings of training: where it starts, how long it takes, and what it writes."""

import dataclasses

from keras_frcnn.config.concern import Concern, Problem
from keras_frcnn.config.setting import CODE, NOT_NEGATIVE, PAPER, POSITIVE, Limits, setting

_FOUR_STEPS = Limits(above=0, lengths=(0, 4))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(Concern):
    """How a detector is trained."""

    output_dir: str = setting(
        "",
        "Folder of the run, which receives checkpoints, logs and all settings.",
        group="run",
        common=True,
    )
    deterministic: bool = setting(
        False,
        "Make TensorFlow's kernels deterministic, so that two runs agree to the bit. This costs "
        "some speed.",
        group="run",
    )
    backbone_weights: str = setting(
        "imagenet",
        "Weights that the backbone starts from: 'imagenet' (downloaded once by Keras, with the box "
        "head's fc1 and fc2 for VGG16 and the box head's convolutions for a ResNet), 'none' (He "
        "initialisation), or a weights file in the form of keras.applications.",
        group="model",
        common=True,
    )
    start_checkpoint: str = setting(
        "",
        "Checkpoint (.keras) of another run to start from; backbone_weights then has no effect. "
        "Backbone, RPN and box head are taken over, and the outputs of the classes that both have, "
        "matched by name (aeroplane = airplane). Backbone, number of anchors, head and pixel_std "
        "must be the checkpoint's.",
        group="model",
        common=True,
    )
    batch_size: int = setting(
        1, "Number of images per step.", group="data", limits=POSITIVE, common=True
    )
    steps: int = setting(
        70000,
        "Number of training steps. The released code makes 70000 of two images each. For "
        "alternating training this is the sum of the four steps, unless alternating_steps is "
        "given.",
        group="training",
        limits=POSITIVE,
        common=True,
    )
    learning_rate: float = setting(
        1e-3,
        "Learning rate after warm-up.",
        group="training",
        limits=POSITIVE,
        source=PAPER,
        common=True,
    )
    lr_schedule: str = setting(
        "piecewise",
        "How the learning rate falls: 'piecewise' multiplies it by lr_decay_factor at each of "
        "lr_boundaries; 'cosine' lowers it to 0 along half a cosine.",
        group="training",
        choices=("piecewise", "cosine"),
    )
    lr_boundaries: tuple[int, ...] = setting(
        (50000,),
        "Steps at which a piecewise learning rate drops.",
        group="training",
        limits=Limits(above=0, order="strictly ascending"),
        source=CODE,
        common=True,
    )
    lr_decay_factor: float = setting(
        0.1,
        "Factor of each drop of the learning rate.",
        group="training",
        limits=POSITIVE,
        source=PAPER,
    )
    warmup_steps: int = setting(
        500,
        "Number of steps over which the learning rate rises linearly from a tenth to its full "
        "value.",
        group="training",
        limits=NOT_NEGATIVE,
    )
    optimizer: str = setting(
        "sgd",
        "SGD with momentum, as in the paper, or Adam, which makes faster progress from random "
        "weights (with a learning_rate of about 1e-4 and weight_decay 0).",
        group="training",
        choices=("sgd", "adam"),
        source=PAPER,
    )
    momentum: float = setting(
        0.9,
        "Momentum of SGD, or beta_1 of Adam.",
        group="training",
        limits=Limits(at_least=0, below=1),
        source=PAPER,
    )
    gradient_clip_norm: float = setting(
        10.0,
        "Gradients whose global norm is larger than this are scaled down to it. 0, as in the "
        "paper, switches this off.",
        group="training",
        limits=NOT_NEGATIVE,
    )
    accumulate_steps: int = setting(
        1,
        "Number of steps whose gradients are averaged into one update. The released code's "
        "iter_size is 2.",
        group="training",
        limits=POSITIVE,
    )
    alternating_steps: tuple[int, ...] = setting(
        (),
        "Number of training steps in each of the four steps of alternating training; unshared "
        "stops after two. Released code: 80000,40000,80000,40000. Empty divides 'steps' in the "
        "same proportions.",
        group="training",
        limits=_FOUR_STEPS,
    )
    alternating_lr_boundaries: tuple[int, ...] = setting(
        (),
        "Training step, counted from the start of each of the four steps, at which its learning "
        "rate drops. Released code: 60000,30000,60000,30000. Empty takes lr_boundaries, shortened "
        "from 'steps' to the length of each step.",
        group="training",
        limits=_FOUR_STEPS,
    )
    alternating_batch_sizes: tuple[int, ...] = setting(
        (),
        "Number of images per training step in each of the four steps. Released code: 1,2,1,2. "
        "Empty takes batch_size.",
        group="training",
        limits=_FOUR_STEPS,
    )
    jit_compile: bool = setting(
        False,
        "Compile the training step and the evaluations of the run with XLA, once for each image "
        "size. This is meant for GPUs; on a processor it is several times slower.",
        group="training",
    )
    log_every: int = setting(
        20,
        "Number of steps between two entries of TensorBoard's scalars.",
        group="watching",
        limits=POSITIVE,
    )
    profile_steps: tuple[int, ...] = setting(
        (),
        "First and last step to profile for TensorBoard. Empty profiles none.",
        group="watching",
        limits=Limits(lengths=(0, 2), order="strictly ascending"),
    )

    def contradictions(self) -> list[Problem]:
        """Returns what is wrong between the settings of training."""
        problems = super().contradictions()
        if self.jit_compile and self.deterministic:
            sentence = (
                "{jit_compile} cannot be combined with {deterministic}: Keras does not use XLA "
                "when kernels must be deterministic"
            )
            problems.append(self._problem(sentence))
        return problems
