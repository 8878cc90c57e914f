"""What a run does about a step whose numbers are not finite: it stops, skips it, or rolls back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_frcnn.console import Console
from keras_frcnn.data.dataset import Record
from keras_frcnn.training import run_folder
from keras_frcnn.training.phase_model import restore
from keras_frcnn.training.schemes import Phase
from keras_frcnn.training.steps import divergence
from keras_frcnn.training.steps.step import NotFinite, TrainingStep


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
        records: the training images.
        console: the console to print to.
        folder: the folder of the report; by default the run folder.
    """

    def __init__(
        self,
        step: TrainingStep,
        phase: Phase,
        records: Sequence[Record],
        console: Console,
        folder: Path | None = None,
    ):
        self.step, self.model = step, step.model
        self.config, self.records, self.console = phase.config, records, console
        self.folder = folder or Path(phase.config.output_dir)

    def take(self, data) -> dict[str, Any] | None:
        """Takes a step.

        Returns:
            The running means of the losses; None if the step was not finite.

        Raises:
            ValueError: If the run ends. It names what was not finite, and gives advice.
        """
        try:
            return self.step(data)
        except NotFinite as error:
            self._handle(error)
            return None

    def _handle(self, error):
        found = divergence.report(self.model, error, self.records)
        run_folder.append_line(self.folder, run_folder.NAN_STEPS, found)
        count = len(run_folder.read_lines(self.folder, run_folder.NAN_STEPS))
        text = divergence.text_of(found)
        last = Path(self.config.output_dir) / run_folder.LAST_CHECKPOINT
        action = self.config.on_nan
        if action == "rollback" and not last.exists():
            action, text = "stop", f"{text}\nThere is no checkpoint to roll back to"
        if action == "stop" or count > self.config.max_nan_steps:
            if action != "stop":
                text += f"\nThere were {count} such steps, more than --max_nan_steps"
            advice = divergence.advice(self.config.output_dir)
            raise ValueError(f"Training stopped: {text}\n{advice}")
        if action == "rollback":
            restore(self.model, last)
            text += f"\n  rolled back to step {int(self.model.step.numpy())} of {last}"
        else:
            text += "\n  the step is skipped"
        self.console.print(text)
        self.model.step.assign(found["step"])
