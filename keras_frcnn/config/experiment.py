"""All settings of an experiment, joined from every concern, and the checks across concerns."""

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping
from typing import Any

from keras_frcnn.config.augmentation import AugmentationConfig
from keras_frcnn.config.concern import Problem, SettingsError
from keras_frcnn.config.data import SPLIT_FILE, DataConfig, DataSource
from keras_frcnn.config.evaluation import EvaluationConfig
from keras_frcnn.config.model import ModelConfig
from keras_frcnn.config.training import TrainingConfig

FORMAT = 2
"""The format number of checkpoints. Version 0.1, whose detector had other parts, wrote format 1."""

_START = {"backbone_weights", "start_checkpoint"}  # what training starts from
# The settings of a model that belong to its training, and not to what it has become.
_OF_TRAINING = {
    *("seed", "precision", "frozen_blocks", "scheme", "train_proposals", "test_proposals"),
    *("test_ranked_proposals", "test_regressed_proposals"),
    *("weight_decay", "decay_biases", "bias_lr_factor"),
}
_WITHOUT_IMAGENET = ("zf",)  # backbones that keras.applications lacks


# A dataclass collects the fields of its bases from the last base to the first.
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(EvaluationConfig, TrainingConfig, ModelConfig, AugmentationConfig, DataConfig):
    """The settings of one experiment. Immutable; ``validate`` names every problem in one error.

    A ``Config`` is also a ``ModelConfig`` and an instance of its other bases, so it can be passed
    to a function that expects one of them.
    """

    def contradictions(self) -> list[Problem]:
        """Returns the contradictions between settings, within and across concerns."""
        problems = super().contradictions()
        if self._starts_at_random and self.frozen_blocks > 0:
            sentence = (
                "{frozen_blocks}={frozen_blocks.value} with {backbone_weights}=none would freeze "
                "random weights: use {frozen_blocks}=-1 or 0"
            )
            problems.append(self._problem(sentence))
        if (
            self.backbone in _WITHOUT_IMAGENET
            and self.backbone_weights != "none"
            and not self.start_checkpoint
        ):
            sentence = (
                "{backbone}={backbone.value} has no pretrained weights in keras.applications: use "
                "{backbone_weights}=none. Received: {backbone_weights}={backbone_weights.value}"
            )
            problems.append(self._problem(sentence))
        if self.epochs and len(self.phase_steps) > 1 and self.alternating_steps:
            sentence = (
                "{epochs} cannot be combined with {alternating_steps}, which gives every phase its "
                "steps"
            )
            problems.append(self._problem(sentence))
        if min(self.phase_steps) < 1:
            sentence = (
                "every phase must have a step. Received: {steps}={steps.value}, which gives the "
                "phases {lengths} steps. Use more {steps}, or {alternating_steps}"
            )
            lengths = ", ".join(map(str, self.phase_steps))
            problems.append(self._problem(sentence, lengths=lengths))
        return problems

    def model_config(self) -> ModelConfig:
        """Returns only the settings of the model, with ``frozen_blocks`` resolved."""
        values = {name: getattr(self, name) for name in ModelConfig.options()}
        return ModelConfig(**values | {"frozen_blocks": self.resolved_frozen_blocks})

    @classmethod
    def from_checkpoint(
        cls, values: Mapping[str, Any], path: str
    ) -> "tuple[Config, tuple[str, ...]]":
        """Reads the settings in a checkpoint that this or an earlier version has written.

        The settings of the model must be valid. Any other setting that no longer exists or is no
        longer valid is dropped, so that a change to a training or logging setting never makes a
        checkpoint unreadable.

        Args:
            values: The result of ``to_dict``, in this or an earlier version, or only the settings
                of the model in it.
            path: The path of the checkpoint. If ``values`` does not say what training started from,
                the checkpoint itself becomes the ``start_checkpoint``, because the detector now
                starts from its weights.

        Returns:
            ``(config, names of the dropped settings)``. The config is valid.

        Raises:
            ValueError: If settings of the model are invalid. It names every problem.
        """
        values = cls._under_present_names(values)
        model = {name: values[name] for name in ModelConfig.options() if name in values}
        ModelConfig(**model).validate()
        kept = {name: values[name] for name in cls.options() if name in values.keys() - model}
        while True:
            start = {} if _START & kept.keys() else {"start_checkpoint": path}
            config = cls(**model, **kept, **start)
            problems = config.problems()
            if not problems:
                return config, tuple(sorted(values.keys() - model - kept.keys()))
            if not kept:
                raise SettingsError(problems)
            # Only the first problem is handled at a time, because a setting that is out of range
            # may also contradict others. If the problem names no setting that can be dropped, all
            # are dropped, because the defaults are valid.
            for name in problems[0].names & kept.keys() or tuple(kept):
                del kept[name]

    @classmethod
    def started_from(cls, start: ModelConfig) -> "Config":
        """Returns the default settings of a run that starts from a detector with these settings.

        The detector's image sizes, parts, anchors, sampling, losses and thresholds are kept.
        """
        kept = ModelConfig.options().keys() - _OF_TRAINING
        return cls(**{name: getattr(start, name) for name in kept})

    def sources(self, splits: tuple[str, ...]) -> tuple[DataSource, ...]:
        """Returns ``DataConfig.sources`` with the seed and the file of a plain folder's splits."""
        file = str(pathlib.PurePath(self.output_dir, SPLIT_FILE)) if self.output_dir else ""
        seed = self.seed if self.split_seed < 0 else self.split_seed
        return tuple(
            dataclasses.replace(source, seed=seed, split_file=file if source.split else "")
            for source in super().sources(splits)
        )

    @property
    def resolved_frozen_blocks(self) -> int:
        """``frozen_blocks`` with -1 resolved: 2 with pretrained weights, 0 without."""
        if self.frozen_blocks >= 0:
            return self.frozen_blocks
        return 0 if self._starts_at_random else 2

    @property
    def _starts_at_random(self) -> bool:
        return self.backbone_weights == "none" and not self.start_checkpoint

    @property
    def phase_steps(self) -> tuple[int, ...]:
        """Number of steps of each phase of the run: four phases in alternating training, two in
        unshared training, otherwise one.
        """
        if self.scheme not in ("alternating", "unshared"):
            return (self.steps,)
        ends = [self.steps * sixths // 6 for sixths in (0, 2, 3, 5, 6)]
        divided = tuple(end - start for start, end in itertools.pairwise(ends))
        return (self.alternating_steps or divided)[: 2 if self.scheme == "unshared" else 4]

    @property
    def phase_lr_boundaries(self) -> tuple[tuple[int, ...], ...]:
        """``lr_boundaries`` of each phase, counted from its start."""
        phases = self.phase_steps
        if len(phases) > 1 and self.alternating_lr_boundaries:
            return tuple((boundary,) for boundary in self.alternating_lr_boundaries[: len(phases)])
        return tuple(
            tuple(sorted({max(1, b * steps // self.steps) for b in self.lr_boundaries}))
            for steps in phases
        )

    @property
    def phase_batch_sizes(self) -> tuple[int, ...]:
        """``batch_size`` of each phase."""
        phases = len(self.phase_steps)
        given = self.alternating_batch_sizes if phases > 1 else ()
        return (given or (self.batch_size,) * phases)[:phases]

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run."""
        return sum(self.phase_steps)

    @property
    def steps_per_interval(self) -> int:
        """Number of steps between two evaluations."""
        return min(self.eval_every, self.steps) or self.steps
