"""The paper's training schemes as phases of one run (Ren et al. 2015, section 3.2).

Joint training, approximate or not, is one phase. Alternating training has four phases, which are
the steps of the paper:

1. The RPN is trained.
2. The detector is trained with its own convolutions, on the proposals of step 1.
3. The RPN's own layers are trained again, on top of the detector's convolutions, which are frozen
   from now on.
4. The detector's own layers are trained further, on the proposals of step 3. The two networks now
   share their convolutions.

Unshared training ends after step 2 and keeps both networks. A phase passes its results to the next
one through files in the run folder, so that a run can be resumed at any point.
"""

import dataclasses
from pathlib import Path

from keras_frcnn.config import Config
from keras_frcnn.training import run_folder

# The parts of the model that a phase can train or freeze: names of attributes of ``FasterRCNN``.
BACKBONE, RPN_BACKBONE, RPN, ROI_HEAD = "backbone", "rpn_backbone", "rpn", "roi_head"
MODEL_PARTS = (BACKBONE, RPN_BACKBONE, RPN, ROI_HEAD)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """A section of a run in which the same parts of the model are trained with the same losses.

    ``trained`` decides which losses there are: a stage has losses if its head is trained.

    Attributes:
        name: the name in messages and logs; empty for the only phase of joint training.
        config: the run's settings with the phase's own ``steps``, ``lr_boundaries`` and
            ``batch_size``, and with the proposals file of the phase as ``train_proposals``.
        model_config: the settings of the phase's model, which its checkpoints store.
        first_step: number of steps that the run has taken when the phase begins.
        trained: the parts of the model that are trained. All other parts are frozen.
        source: the checkpoint in the run folder from which parts are copied; empty for none.
        copied: the parts that are copied. All other parts start with the run's initial weights.
        result: the name of the checkpoint that is kept at the end of the phase.
    """

    name: str = ""
    config: Config
    model_config: Config
    first_step: int = 0
    trained: tuple[str, ...] = MODEL_PARTS
    source: str = ""
    copied: tuple[str, ...] = ()
    result: str = run_folder.LAST_CHECKPOINT

    @property
    def last_step(self) -> int:
        """Number of steps that the run has taken when the phase ends."""
        return self.first_step + self.config.steps

    @property
    def is_final(self) -> bool:
        """Whether the run ends with this phase."""
        return self.result == run_folder.LAST_CHECKPOINT

    @property
    def proposals_file(self) -> Path | None:
        """The proposals file that the run writes for this phase to train on, or None."""
        return Path(self.config.train_proposals) if _needs_proposals(self) else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _AlternatingStep:
    """The fixed properties of a step of alternating training; see ``Phase`` for the attributes."""

    model_scheme: str
    trained: tuple[str, ...]
    source: str = ""
    copied: tuple[str, ...] = ()
    result: str


_ALTERNATING_STEPS = (
    _AlternatingStep(
        model_scheme="unshared",
        trained=(RPN_BACKBONE, RPN),
        result="step1.keras",
    ),
    _AlternatingStep(
        model_scheme="unshared",
        trained=(BACKBONE, ROI_HEAD),
        source="step1.keras",
        copied=(RPN_BACKBONE, RPN),
        result="unshared.keras",
    ),
    _AlternatingStep(
        model_scheme="alternating",
        trained=(RPN,),
        source="unshared.keras",
        copied=(BACKBONE, ROI_HEAD),
        result="step3.keras",
    ),
    _AlternatingStep(
        model_scheme="alternating",
        trained=(ROI_HEAD,),
        source="step3.keras",
        copied=(BACKBONE, RPN, ROI_HEAD),
        result=run_folder.LAST_CHECKPOINT,
    ),
)

RESULTS = tuple(step.result for step in _ALTERNATING_STEPS)
"""The checkpoints from which a run can go on, the latest last."""


def phases(config: Config) -> tuple[Phase, ...]:
    """Returns the phases of a run in order."""
    if config.scheme not in ("alternating", "unshared"):
        return (Phase(config=config, model_config=config),)
    result, first_step = [], 0
    count = len(config.phase_steps)  # 2 if unshared
    for index, step in enumerate(_ALTERNATING_STEPS[:count]):
        phase_config = config.replace(
            steps=config.phase_steps[index],
            lr_boundaries=config.phase_lr_boundaries[index],
            batch_size=config.phase_batch_sizes[index],
        )
        if _needs_proposals(step):
            file = Path(config.output_dir) / f"step{index}_proposals.npz"
            phase_config = phase_config.replace(train_proposals=str(file))
        phase = Phase(
            name=f"step {index + 1} of {count}",
            config=phase_config,
            model_config=config.replace(scheme=step.model_scheme),
            first_step=first_step,
            trained=step.trained,
            source=step.source,
            copied=step.copied,
            result=step.result if index + 1 < count else run_folder.LAST_CHECKPOINT,
        )
        result.append(phase)
        first_step = phase.last_step
    return tuple(result)


def unfinished(config: Config) -> tuple[Phase, ...]:
    """Returns the phases that are not finished in the run folder, always with the final phase.

    Raises:
        ValueError: If the checkpoint of a phase is missing although a later phase has finished.
    """
    folder, all_phases = Path(config.output_dir), phases(config)
    finished = [not phase.is_final and (folder / phase.result).exists() for phase in all_phases]
    first = finished.index(False)
    if any(finished[first:]):
        later = all_phases[first + finished[first:].index(True)]
        raise ValueError(
            f"{folder} lacks {all_phases[first].result}, although it has {later.result}. Put the "
            "file back, or use another --output_dir"
        )
    return all_phases[first:]


def _needs_proposals(step: Phase | _AlternatingStep) -> bool:
    """Whether a step trains the detector on the proposals of an earlier step."""
    return bool(step.source) and ROI_HEAD in step.trained
