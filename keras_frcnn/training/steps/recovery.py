"""What a run does about a step whose numbers are not finite: it stops, skips it, or rolls back."""

from pathlib import Path
from typing import Any

from keras_frcnn.console import Console
from keras_frcnn.training import run_folder
from keras_frcnn.training.phase_model import restore
from keras_frcnn.training.schemes import Phase
from keras_frcnn.training.steps import divergence
from keras_frcnn.training.steps.batches import Batches
from keras_frcnn.training.steps.step import NotFinite, TrainingStep

_ACTIONS = ("stop", "skip", "rollback")


class Recovery:
    """Takes the steps of a phase, and handles those that are not finite as ``on_nan`` says.

    - "stop" ends the run. So do the others, if that happens more often than ``max_nan_steps``.
    - "skip" leaves the weights as they are. The run goes on with the next batch.
    - "rollback" puts the weights and the optimizer's state of the last checkpoint in their place.
      The run goes on with the next batch: those since the checkpoint would lead to the same
      numbers again. Without a checkpoint of the phase, the run ends.

    Every such step is reported on the console and in ``nan.jsonl``.

    Args:
        step: takes the steps.
        phase: the phase of the run.
        batches: the batches of the phase.
        console: the console to print to.
        folder: the folder of the report; by default the run folder.
    """

    def __init__(
        self,
        step: TrainingStep,
        phase: Phase,
        batches: Batches,
        console: Console,
        folder: Path | None = None,
    ):
        self.step, self.model = step, step.model
        self.config, self.batches, self.console = phase.config, batches, console
        self.folder = folder or Path(phase.config.output_dir)

    def take(self, *data) -> dict[str, Any] | None:
        """Takes a step.

        Args:
            *data: the batches of the step, as ``TrainingStep`` takes them.

        Returns:
            The running means of the losses; None if the step was not finite.

        Raises:
            ValueError: If the run ends. It names what was not finite, and gives advice.
        """
        try:
            return self.step(*data)
        except NotFinite as error:
            self._handle(error)
            return None

    def _handle(self, error):
        replicas, step = self.step.replicas, int(self.model.step.numpy())
        last = Path(self.config.output_dir) / run_folder.LAST_CHECKPOINT
        action, text = _ACTIONS[0], "the first process of the run says what was not finite"
        if replicas.is_first:  # it decides for all
            action, text = self._report(error, step, last)
        action = _ACTIONS[replicas.of_first(_ACTIONS.index(action))]
        if action == "stop":
            advice = divergence.advice(self.config.output_dir)
            raise ValueError(f"Training stopped: {text}\n{advice}")
        if action == "rollback":
            restore(self.model, last)
            text += f"\n  rolled back to step {int(self.model.step.numpy())} of {last}"
        else:
            text += "\n  the step is skipped"
        self.console.print(text)
        self.model.step.assign(step + 1)

    def _report(self, error, step, last):
        """Reports a step; returns what is done about it, and the words for it."""
        if self.step.replicas.count > 1:
            error.data = self.batches.undivided(step)
        found = divergence.report(self.model, error, self.batches.dataset.records)
        run_folder.append_line(self.folder, run_folder.NAN_STEPS, found)
        count = len(run_folder.read_lines(self.folder, run_folder.NAN_STEPS))
        action, text = self.config.on_nan, divergence.text_of(found)
        if action == "rollback" and not last.exists():
            action, text = "stop", f"{text}\nThere is no checkpoint to roll back to"
        if action != "stop" and count > self.config.max_nan_steps:
            text += f"\nThere were {count} such steps, more than --max_nan_steps"
            action = "stop"
        return action, text
