"""Progress bars of training and prediction."""

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
from rich import progress

from keras_frcnn.config import Config
from keras_frcnn.console import Console

_LABELS = {
    "loss": "loss",
    "rpn_cls_loss": "rpn cls",
    "rpn_box_loss": "box",
    "roi_cls_loss": "roi cls",
    "roi_box_loss": "box",
}


class ProgressBar:
    """Shows the progress of a run, as a bar on a terminal and as one line per log elsewhere.

    Args:
        config: the run's settings.
        console: the console to print to.
        first_step: number of steps that the run has already taken.

    Attributes:
        step: number of steps that the run has taken.
    """

    def __init__(self, config: Config, console: Console, first_step: int):
        self.config, self.console = config, console
        self.step = self.first_step = self.first_step_of_phase = first_step
        self.steps_per_epoch = 0.0
        self.start_time = time.perf_counter()
        self.bar = progress.Progress(
            progress.TextColumn("[bold]{task.description}"),
            progress.BarColumn(bar_width=None),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(elapsed_when_finished=False),
            progress.TextColumn("{task.fields[text]}"),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=600,
        )

    def __enter__(self):
        self.bar.start()
        self.task = self.bar.add_task(
            "train", total=self.config.total_steps, completed=self.step, text=""
        )
        return self

    def __exit__(self, *_):
        self.bar.stop()

    def start_from(self, step: int, first_step: int, steps_per_epoch: float):
        """Begins a phase, or resumes it, and restarts the time estimate.

        Args:
            step: number of steps that the run has already taken.
            first_step: number of steps that it had taken when the phase began.
            steps_per_epoch: number of steps that take each training image once.
        """
        self.step = self.first_step = step
        self.first_step_of_phase, self.steps_per_epoch = first_step, steps_per_epoch
        self.start_time = time.perf_counter()
        self.bar.update(self.task, completed=step)

    @property
    def epoch(self) -> float:
        """How often the phase has taken each training image; NaN before a phase begins."""
        taken = self.step - self.first_step_of_phase
        return taken / self.steps_per_epoch if self.steps_per_epoch else math.nan

    @property
    def minutes_left(self) -> float:
        """The time that the rest of the run will take, if it takes as long as what came before."""
        seconds = time.perf_counter() - self.start_time
        steps_here = max(self.step - self.first_step, 1)
        return seconds / steps_here * (self.config.total_steps - self.step) / 60

    def advance(self):
        """Counts one training step."""
        self.step += 1
        self.bar.update(self.task, completed=self.step)

    def show(self, losses: dict[str, float], images_per_second: float):
        """Shows the mean losses since the last log, and the speed."""
        text = f"{losses_text(losses)}  {images_per_second:.2f} images/s"
        if self.steps_per_epoch:
            text = f"epoch {self.epoch:.2f}  {text}"
        self.bar.update(self.task, text=text)
        if not self.console.is_terminal:
            progress = f"step {self.step}/{self.config.total_steps}"
            self.console.print(f"{progress}  {text}  {self.minutes_left:.0f} min left")

    def count(self, items: Iterable[Any], title: str, total: int) -> Iterator[Any]:
        """Yields the items while a second bar counts them."""
        task = self.bar.add_task(title, total=total, text="")
        for item in items:
            yield item
            self.bar.advance(task)
        self.bar.remove_task(task)

    @contextlib.contextmanager
    def evaluation(self, num_images: int) -> Iterator[keras.callbacks.Callback]:
        """Shows a second bar during an evaluation; yields the Keras callback that advances it."""
        task = self.bar.add_task("evaluate", total=num_images, text="")
        yield _prediction_callback(self.bar, task)
        self.bar.remove_task(task)


def losses_text(losses: Mapping[str, float]) -> str:
    """Returns losses by name as a short line."""
    shown = (name for name in _LABELS if name in losses)
    return " ".join(f"{_LABELS[name]} {losses[name]:.3f}" for name in shown)


@contextlib.contextmanager
def prediction_bar(
    console: Console, num_batches: int, title: str
) -> Iterator[keras.callbacks.Callback]:
    """Shows a bar for ``model.predict``; yields the Keras callback that advances it."""
    with progress.Progress(console=console, disable=not console.is_terminal) as bar:
        yield _prediction_callback(bar, bar.add_task(title, total=num_batches))


def _prediction_callback(bar, task):
    return keras.callbacks.LambdaCallback(
        on_predict_batch_end=lambda batch, logs=None: bar.advance(task)
    )
