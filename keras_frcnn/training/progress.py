"""The progress bar of a run."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any

import keras
from rich import progress
from rich.console import Console

from keras_frcnn.config import Config


class ProgressBar:
    """One bar for the whole run on a terminal; one line for every log elsewhere."""

    _SHOWN = {
        "loss": "loss",
        "rpn_cls_loss": "rpn cls",
        "rpn_box_loss": "box",
        "roi_cls_loss": "roi cls",
        "roi_box_loss": "box",
    }

    def __init__(self, config: Config, console: Console, first_step: int):
        self.config, self.console = config, console
        self.step, self.started = first_step, time.perf_counter()
        self.first_step = first_step
        self.bar = progress.Progress(
            progress.TextColumn("[bold]{task.description}"),
            progress.BarColumn(bar_width=None),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(elapsed_when_finished=False),
            progress.TextColumn("{task.fields[words]}"),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=600,
        )

    def __enter__(self):
        self.bar.start()
        self.task = self.bar.add_task(
            "train", total=self.config.total_steps, completed=self.step, words=""
        )
        return self

    def __exit__(self, *_):
        self.bar.stop()

    def start_from(self, step: int):
        """Says which step a phase of the run begins or goes on with, and reckons anew from it."""
        self.step = self.first_step = step
        self.started = time.perf_counter()
        self.bar.update(self.task, completed=step)

    def advance(self):
        """Counts one training step."""
        self.step += 1
        self.bar.update(self.task, completed=self.step)

    def show(self, losses, rate):
        """Shows the means of the last steps."""
        words = " ".join(
            f"{label} {losses[name]:.3f}" for name, label in self._SHOWN.items() if name in losses
        )
        words += f"  {rate:.2f} images/s"
        self.bar.update(self.task, words=words)
        if not self.console.is_terminal:
            seconds = (time.perf_counter() - self.started) / max(self.step - self.first_step, 1)
            left = seconds * (self.config.total_steps - self.step) / 60
            self.console.print(
                f"step {self.step}/{self.config.total_steps}  {words}  {left:.0f} min left",
                highlight=False,
                soft_wrap=True,
            )

    def count(self, items: Iterable[Any], title: str, total: int) -> Iterator[Any]:
        """Passes items on; a second bar counts them."""
        task = self.bar.add_task(title, total=total, words="")
        for item in items:
            yield item
            self.bar.advance(task)
        self.bar.remove_task(task)

    @contextlib.contextmanager
    def evaluation(self, num_images: int) -> Iterator[keras.callbacks.Callback]:
        """Shows a second bar while images are evaluated; gives the Keras callback that moves
        it.
        """
        task = self.bar.add_task("evaluate", total=num_images, words="")
        yield _predict_callback(self.bar, task)
        self.bar.remove_task(task)


@contextlib.contextmanager
def prediction_bar(
    console: Console, num_batches: int, title: str
) -> Iterator[keras.callbacks.Callback]:
    """Shows a bar for ``model.predict``; gives the Keras callback that moves it."""
    with progress.Progress(console=console, disable=not console.is_terminal) as bar:
        yield _predict_callback(bar, bar.add_task(title, total=num_batches))


def _predict_callback(bar, task):
    return keras.callbacks.LambdaCallback(
        on_predict_batch_end=lambda batch, logs=None: bar.advance(task)
    )
