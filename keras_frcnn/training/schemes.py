"""The paper's training schemes as phases of one run (Ren et al. 2015, section 3.2).

Joint training, approximate or not, is one phase. Alternating training has four: (1) the RPN learns;
(2) a detector with convolutions of its own learns on the RPN's proposals; (3) the RPN's own layers
learn anew on the detector's convolutions, which stay as they are from here on; (4) the detector's
own layers go on learning, on the proposals of step 3. Now both share one set of convolutions.
Unshared training stops after (2) and keeps both networks.

What a phase hands to the next one is files of the run folder, so that a run goes on from any point.
"""

import dataclasses
from pathlib import Path

from keras_frcnn.config import Config
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.weights import checkpoint

LAST = "last.keras"
_PARTS = ("backbone", "rpn_backbone", "rpn_head", "box_head")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of a run in which the same layers learn from the same losses.

    A stage's losses are those of its head: they exist where the head learns, see
    ``models/stage_losses.py``.

    Attributes:
        name: what it is called; empty for the one phase of joint training.
        config: the run's settings, with the phase's own ``steps``, ``lr_boundaries`` and
            ``batch_size``, and with the proposals file that it trains on in ``train_proposals``.
        model_config: the settings of its model, which its checkpoints hold.
        first_step: steps of the run before it.
        trains: names of the model's layers that learn; the rest is frozen.
        start: checkpoint of the run folder from which it takes layers; empty: from none.
        takes: names of those layers. All others begin with the run's start weights.
        result: name of the checkpoint that is kept of its end.
    """

    name: str = ""
    config: Config
    model_config: Config
    first_step: int = 0
    trains: tuple[str, ...] = _PARTS
    start: str = ""
    takes: tuple[str, ...] = ()
    result: str = LAST

    @property
    def last_step(self) -> int:
        """Steps of the run at its end."""
        return self.first_step + self.config.steps

    @property
    def is_final(self) -> bool:
        """Whether it ends the run."""
        return self.result == LAST

    @property
    def proposals(self) -> Path | None:
        """The proposals file that it trains on and that the run itself makes."""
        makes_them = self.start and "box_head" in self.trains
        return Path(self.config.train_proposals) if makes_them else None


# Of each of the four steps: the scheme of its model, what learns, the checkpoint it starts from and
# what it takes from there, the checkpoint that is kept.
_STEPS = (
    ("unshared", ("rpn_backbone", "rpn_head"), "", (), "step1.keras"),
    (
        "unshared",
        ("backbone", "box_head"),
        "step1.keras",
        ("rpn_backbone", "rpn_head"),
        "unshared.keras",
    ),
    ("alternating", ("rpn_head",), "unshared.keras", ("backbone", "box_head"), "step3.keras"),
    ("alternating", ("box_head",), "step3.keras", ("backbone", "rpn_head", "box_head"), LAST),
)


def phases(config: Config) -> tuple[Phase, ...]:
    """Returns the phases of a run, in order."""
    if config.scheme not in ("alternating", "unshared"):
        return (Phase(config=config, model_config=config),)
    made, first_step = [], 0
    own = zip(config.phase_steps, config.phase_lr_boundaries, config.phase_batch_sizes, strict=True)
    for number, values in enumerate(own, start=1):
        scheme, trains, start, takes, result = _STEPS[number - 1]
        changes = dict(zip(("steps", "lr_boundaries", "batch_size"), values, strict=True))
        if start and "box_head" in trains:
            file = Path(config.output_dir) / f"step{number - 1}_proposals.npz"
            changes["train_proposals"] = str(file)
        phase = Phase(
            name=f"step {number} of {len(config.phase_steps)}",
            config=config.replace(**changes),
            model_config=config.replace(scheme=scheme),
            first_step=first_step,
            trains=trains,
            start=start,
            takes=takes,
            result=result if number < len(config.phase_steps) else LAST,
        )
        made.append(phase)
        first_step = phase.last_step
    return tuple(made)


def unfinished(config: Config) -> tuple[Phase, ...]:
    """Returns the phases that a run folder has not finished; at least the final one.

    Raises:
        ValueError: naming a checkpoint that is missing while a later one is there.
    """
    folder, everything = Path(config.output_dir), phases(config)
    done = [not phase.is_final and (folder / phase.result).exists() for phase in everything]
    first = done.index(False)
    if any(done[first:]):
        later = everything[first + done[first:].index(True)]
        raise ValueError(
            f"{folder} lacks {everything[first].result}, though it has {later.result}: put it "
            "back, or use another --output_dir"
        )
    return everything[first:]


def prepare(model: FasterRCNN, phase: Phase) -> None:
    """Makes a model that has the run's start weights the one with which a phase begins.

    Raises:
        ValueError: naming the checkpoint that is missing or does not fit.
    """
    if phase.start:
        donor = checkpoint.load(Path(phase.config.output_dir) / phase.start)
        for name in phase.takes:
            getattr(model, name).set_weights(getattr(donor, name).get_weights())
    for name in _PARTS:
        if name not in phase.trains and getattr(model, name) is not None:
            getattr(model, name).trainable = False
    model.step.assign(phase.first_step)
