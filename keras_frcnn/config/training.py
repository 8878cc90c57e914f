"""Settings of training: where it starts, how long it takes, and what it writes."""

import dataclasses
import re

from keras_frcnn.config.concern import Concern, Problem
from keras_frcnn.config.setting import (
    CODE,
    FRACTION,
    NOT_NEGATIVE,
    PAPER,
    POSITIVE,
    Limits,
    setting,
)

_INTERVAL = re.compile(r"(?P<steps>[1-9]\d*)|(?P<minutes>\d+(\.\d+)?) ?m(in(utes?)?)?")
_FOUR_STEPS = Limits(above=0, lengths=(0, 4))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(Concern):
    """How a detector is trained."""

    output_dir: str = setting(
        "",
        "Run folder, to which checkpoints, logs and all settings are written.",
        group="run",
        common=True,
        output="folder",
    )
    distribution: str = setting(
        "none",
        "Devices that share the work of a run: 'none' is one device; 'mirrored' is all GPUs of the "
        "machine; 'multi_worker' is the cluster that TF_CONFIG or Slurm describes, where each "
        "process runs the same command; 'auto' is that cluster if there is one, or else all GPUs. "
        "Each of them has an equal part of every batch, and the run takes the same steps.",
        group="run",
        choices=("none", "mirrored", "multi_worker", "auto"),
    )
    deterministic: bool = setting(
        False,
        "Whether TensorFlow's kernels are made deterministic, so that two runs agree to the last "
        "bit. This costs some speed.",
        group="run",
    )
    backbone_weights: str = setting(
        "imagenet",
        "Initial weights of the backbone: 'imagenet' (downloaded once by Keras), 'none' (He "
        "initialisation), or a weights file in the format of keras.applications. ImageNet weights "
        "also initialise the box head: fc1 and fc2 with VGG16, and the convolutions with a ResNet.",
        group="model",
        common=True,
    )
    start_checkpoint: str = setting(
        "",
        "Checkpoint (.keras) of another run to start from, or the name of a detector of the "
        "package, such as voc07, or of the zoo; backbone_weights then has no effect. The weights "
        "of the backbone, RPN and box head are copied. Output weights are copied for classes of "
        "the same name in both runs (aeroplane = airplane). Settings of the model that are not "
        "given are those of the checkpoint. The backbone, the number of anchors, the box head and "
        "pixel_std must be.",
        group="model",
        common=True,
    )
    batch_size: int = setting(
        1,
        "Number of images per step, on all devices together; learning_rate belongs to it.",
        group="data",
        limits=POSITIVE,
        common=True,
    )
    steps: int = setting(
        70000,
        "Number of training steps. The released code takes 70000 steps of two images each. In "
        "alternating training this is the total over the four steps of the scheme, unless "
        "alternating_steps is given.",
        group="training",
        limits=POSITIVE,
        common=True,
    )
    epochs: float = setting(
        0.0,
        "Length of the training in epochs, which take each training image once. If above 0, "
        "'steps' follows from it.",
        group="training",
        limits=NOT_NEGATIVE,
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
        "How the learning rate decreases: 'piecewise' multiplies it by lr_decay_factor at each of "
        "lr_boundaries; 'cosine' lowers it to lr_end_factor times its value along half a cosine, "
        "'linear' along a line, and 'polynomial' along a line to the power of lr_power.",
        group="training",
        choices=("piecewise", "cosine", "linear", "polynomial"),
    )
    lr_end_factor: float = setting(
        0.0,
        "What is left of the learning rate at the last step, as a factor, unless lr_schedule is "
        "'piecewise'.",
        group="training",
        limits=FRACTION,
    )
    lr_power: float = setting(
        0.9,
        "Power of the learning rate's 'polynomial' decrease.",
        group="training",
        limits=POSITIVE,
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
        "Factor by which the learning rate is multiplied at each of lr_boundaries.",
        group="training",
        limits=POSITIVE,
        source=PAPER,
    )
    warmup_steps: int = setting(
        500,
        "Number of steps over which the learning rate rises linearly from a tenth to its full "
        "value. In a run or phase that is not longer than this, it is a tenth of the steps.",
        group="training",
        limits=NOT_NEGATIVE,
    )
    optimizer: str = setting(
        "sgd",
        "'sgd' is SGD with momentum, as in the paper. 'adam' makes faster progress from random "
        "weights; use it with a learning_rate of about 1e-4 and a weight_decay of 0. 'adamw' is "
        "Adam with decoupled weight decay: each step shrinks the weights by learning_rate times "
        "weight_decay.",
        group="training",
        choices=("sgd", "adam", "adamw"),
        source=PAPER,
    )
    backbone_lr_factor: float = setting(
        1.0,
        "Factor of the learning rate for the weights of the backbone.",
        group="training",
        limits=POSITIVE,
    )
    ema_momentum: float = setting(
        0.0,
        "Momentum of a moving average of the weights, typically 0.999. Evaluations measure the "
        "averaged weights and checkpoints hold them. 0 averages nothing.",
        group="training",
        limits=Limits(at_least=0, below=1),
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
        "Gradients whose global norm is larger than this are scaled down to it. 0 turns clipping "
        "off, as in the paper.",
        group="training",
        limits=NOT_NEGATIVE,
    )
    accumulate_steps: int = setting(
        1,
        "Number of steps whose gradients are averaged into one update. The released code calls "
        "this iter_size and sets it to 2.",
        group="training",
        limits=POSITIVE,
    )
    alternating_steps: tuple[int, ...] = setting(
        (),
        "Number of training steps in each of the four steps of alternating training; unshared "
        "training uses the first two. The released code uses 80000,40000,80000,40000. If empty, "
        "'steps' is divided in the same proportions.",
        group="training",
        limits=_FOUR_STEPS,
    )
    alternating_lr_boundaries: tuple[int, ...] = setting(
        (),
        "Training step at which the learning rate drops in each of the four steps of alternating "
        "training, counted from the start of that step. The released code uses "
        "60000,30000,60000,30000. If empty, lr_boundaries are scaled from 'steps' to the length of "
        "each step.",
        group="training",
        limits=_FOUR_STEPS,
    )
    alternating_batch_sizes: tuple[int, ...] = setting(
        (),
        "Number of images per training step in each of the four steps of alternating training. "
        "The released code uses 1,2,1,2. If empty, batch_size is used.",
        group="training",
        limits=_FOUR_STEPS,
    )
    jit_compile: bool = setting(
        False,
        "Whether the training step and the evaluations of the run are compiled with XLA, once for "
        "each image size. This is meant for GPUs; on a CPU it is several times slower.",
        group="training",
    )
    keep: int = setting(
        2,
        "Number of latest checkpoints to keep: last.keras, and those before it in the folder "
        "'earlier'. If last.keras is found damaged, the run continues from the one before. "
        "best.keras is kept as well.",
        group="checkpoints",
        limits=POSITIVE,
    )
    checkpoint_every: str = setting(
        "",
        "Steps (500) or minutes (30min) between two checkpoints. One is also written before each "
        "evaluation and at the end; if this is empty, there are no others.",
        group="checkpoints",
    )
    max_minutes: float = setting(
        0.0,
        "Minutes after which the run has written a checkpoint and ended. The same command "
        "continues it. 0 sets no limit.",
        group="checkpoints",
        limits=NOT_NEGATIVE,
    )
    on_nan: str = setting(
        "stop",
        "What the run does about a step whose loss or gradients are not finite: 'stop' ends it; "
        "'skip' leaves the weights as they are; 'rollback' returns to the last checkpoint. The "
        "last two go on with the next batch. Each such step is reported in nan.jsonl.",
        group="checkpoints",
        choices=("stop", "skip", "rollback"),
    )
    max_nan_steps: int = setting(
        10,
        "Number of steps that on_nan may skip or roll back from; the run ends at the next one.",
        group="checkpoints",
        limits=NOT_NEGATIVE,
    )
    patience: int = setting(
        0,
        "Number of evaluations in a row without a better mean AP after which the run ends. 0 never "
        "ends it early.",
        group="checkpoints",
        limits=NOT_NEGATIVE,
    )
    log_every: int = setting(
        20,
        "Number of steps between two log entries, on the console and in TensorBoard.",
        group="watching",
        limits=POSITIVE,
    )
    profile_steps: tuple[int, ...] = setting(
        (),
        "First and last step to profile for TensorBoard. If empty, nothing is profiled.",
        group="watching",
        limits=Limits(lengths=(0, 2), order="strictly ascending"),
    )

    def contradictions(self) -> list[Problem]:
        """Returns the contradictions between the settings of training."""
        problems = super().contradictions()
        if self.jit_compile and self.deterministic:
            sentence = (
                "{jit_compile} cannot be combined with {deterministic}: Keras does not use XLA "
                "when kernels must be deterministic"
            )
            problems.append(self._problem(sentence))
        if self.checkpoint_every and not any(self.checkpoint_interval):
            sentence = (
                "{checkpoint_every} must be a number of steps, such as 500, or of minutes, such as "
                "30min. Received: {checkpoint_every.value!r}"
            )
            problems.append(self._problem(sentence))
        return problems

    @property
    def checkpoint_interval(self) -> tuple[int, float]:
        """``checkpoint_every`` as steps and minutes, of which at most one is above 0."""
        found = _INTERVAL.fullmatch(self.checkpoint_every)
        return (int(found["steps"] or 0), float(found["minutes"] or 0)) if found else (0, 0.0)

    @property
    def resolved_warmup_steps(self) -> int:
        """``warmup_steps``, or a tenth of the steps if the warm-up would not end before they do."""
        return self.warmup_steps if self.warmup_steps < self.steps else self.steps // 10
