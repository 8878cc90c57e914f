"""What happens beside the steps of a run: logs, TensorBoard, evaluation, checkpoints, stopping."""

import json
import math
import os
import shutil
import signal
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.files import to_image
from keras_frcnn.drawing.detections import draw_panels
from keras_frcnn.evaluation.metrics import measure
from keras_frcnn.evaluation.metrics import proposal_recall as proposal_evaluation
from keras_frcnn.evaluation.report import console_tables, scalars
from keras_frcnn.inference.collect import collect, propose
from keras_frcnn.training.progress import ProgressBar
from keras_frcnn.training.schemes import LAST, Phase
from keras_frcnn.weights import checkpoint

EVALUATIONS = "evaluations.jsonl"
BEST = "best.keras"


class Logger(keras.callbacks.Callback):
    """Every ``log_every`` steps: means of the losses since the last time, to the progress bar and
    TensorBoard.

    Stops the run with an error where a loss is not finite: nothing good can follow, and the last
    checkpoint is whole.
    """

    def __init__(self, config: Config, bar: ProgressBar):
        super().__init__()
        self.config, self.bar = config, bar
        self.writer = tf.summary.create_file_writer(os.path.join(config.output_dir, "train"))
        self.window_start, self.window_steps = None, 0

    def on_epoch_begin(self, epoch, logs=None):
        self._open_window()

    def on_train_batch_end(self, batch, logs=None):
        self.window_steps += 1
        self.bar.advance()
        # The bar's count, since the model's clock would make Python wait for a GPU at every step.
        if self.bar.step % self.config.log_every == 0:
            self._log(self.bar.step, logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.window_steps:
            self._log(self.bar.step, logs)

    def on_train_end(self, logs=None):
        self.writer.flush()

    def _log(self, step, logs):
        losses = {name: float(logs[name]) for name in (meter.name for meter in self.model.metrics)}
        if not math.isfinite(losses["loss"]):
            bad = ", ".join(name for name, value in losses.items() if not math.isfinite(value))
            raise ValueError(
                f"Training stopped: {bad} is not finite between steps "
                f"{step - self.window_steps + 1} and {step}. Try a lower --learning_rate, more "
                "--warmup_steps or a smaller --gradient_clip_norm"
            )
        seconds = time.perf_counter() - self.window_start
        rate = self.window_steps * self.config.batch_size / seconds
        self.bar.show(losses, rate)
        with self.writer.as_default(step=step):
            for name, value in losses.items():
                tf.summary.scalar(name, value)
            tf.summary.scalar("learning_rate", self.model.optimizer.learning_rate)
            tf.summary.scalar("images_per_second", rate)
        self._open_window()

    def _open_window(self):
        self.model.reset_metrics()
        self.window_start, self.window_steps = time.perf_counter(), 0


class Graph(keras.callbacks.Callback):
    """Once a run, before its first step: the graph of a training step, for TensorBoard.

    Args:
        config: ``output_dir`` is read.
        batch_spec: the element spec of the training stream.
    """

    def __init__(self, config: Config, batch_spec):
        super().__init__()
        self.folder, self.batch_spec = os.path.join(config.output_dir, "train"), batch_spec

    def on_train_begin(self, logs=None):
        if int(self.model.step) == 0:
            step = tf.function(self.model.train_step).get_concrete_function(self.batch_spec)
            with tf.summary.create_file_writer(self.folder).as_default(step=0):
                tf.summary.graph(step.graph)


class Evaluator(keras.callbacks.Callback):
    """At the end of every interval: AP by the metric of the data's form and the proposals' recall
    on the evaluation split, to a table, TensorBoard and a file; and ``best.keras``, the checkpoint
    of the final phase's highest mean AP: VOC's mAP (area), or COCO's AP over ten IoUs. Where the
    detector does not learn only the recall.

    Stands behind ``Checkpoints``: what an evaluation takes hours for is already safe. Whoever stops
    a run does not wait for it; the run goes on with it.
    """

    def __init__(self, phase: Phase, dataset: Dataset, bar: ProgressBar, stop: "StopOnSignal"):
        super().__init__()
        self.phase, self.config, self.dataset, self.bar = phase, phase.config, dataset, bar
        self.stop = stop
        self.writer = tf.summary.create_file_writer(os.path.join(self.config.output_dir, "eval"))

    def on_epoch_end(self, epoch, logs=None):
        if not self.model.stop_training:
            self.evaluate()

    def evaluate(self):
        """Evaluates the model as it is now, of which ``last.keras`` is the checkpoint."""
        step = int(self.model.step)
        try:
            detections, proposals = self._collect()
        except Stopped:
            self.model.stop_training = True
            return
        recall = proposal_evaluation.recall(
            [record.boxes[~record.difficult] for record in self.dataset.records],
            [image["boxes"] for image in proposals],
        )[:, 0]
        recall = dict(zip(proposal_evaluation.NUM_PROPOSALS, recall, strict=True))
        result = None if detections is None else measure.measure(self.dataset, detections)
        given = "rpn" if result is None else self.config.test_proposals
        values = scalars.of_result(result, recall, proposal_evaluation.source_of(given))
        if result is None:
            words = ", ".join(f"{value:.3f} of {n}" for n, value in recall.items())
            self.bar.console.print(f"recall of RPN proposals: {words}", highlight=False)
        else:
            console_tables.print_table(result, self.bar.console)
        with self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
            self._draw(detections, proposals)
        self.writer.flush()
        line = {"step": step, **({"phase": self.phase.name} if self.phase.name else {})}
        line |= {k: None if math.isnan(v) else float(v) for k, v in values.items()}
        with open(os.path.join(self.config.output_dir, EVALUATIONS), "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.phase.is_final:
            self._keep_best(next(iter(values)))

    def _collect(self):
        """Detections, or None, and proposals of all images."""
        count = len(self.dataset.records)
        if "roi" not in self.model.learning_stages:
            found = propose(self.model, self.dataset, self.config)
            proposals = []
            for _, boxes, scores in self.bar.count(found, "evaluate", count):
                self.stop.check()
                proposals.append({"boxes": boxes, "scores": scores})
            return None, proposals
        count *= len(self.config.sizes(self.config.test_shorter_sides))
        with self.bar.evaluation(count) as callback:
            beside = [callback, self.stop]
            return collect(self.model, self.dataset, self.config, callbacks=beside)

    def _keep_best(self, name):
        folder, first_step = Path(self.config.output_dir), self.phase.first_step
        evaluations = [e for e in read_evaluations(folder) if e["step"] > first_step]
        *before, now = [evaluation.get(name) or 0.0 for evaluation in evaluations]
        if now >= max(before, default=0.0):
            beside = folder / "new.keras"
            beside.unlink(missing_ok=True)
            try:
                os.link(folder / LAST, beside)
            except OSError:  # not every file system has hard links
                shutil.copyfile(folder / LAST, beside)
            os.replace(beside, folder / BEST)

    def _draw(self, detections, proposals):
        records = self.dataset.records
        chosen = np.linspace(0, len(records) - 1, min(self.config.num_images, len(records))).astype(
            int
        )
        for i in chosen:
            record = records[i]
            panels = draw_panels(
                to_image(record),
                self.dataset.class_names,
                gt={"boxes": record.boxes, "labels": record.labels, "difficult": record.difficult},
                proposals=proposals[i],
                detections=detections and detections[record.image_id],
            )
            tf.summary.image(f"images/{record.image_id}", panels[np.newaxis])


class Checkpoints(keras.callbacks.Callback):
    """At the end of every interval, and when the run is stopped: ``last.keras``."""

    def __init__(self, config: Config):
        super().__init__()
        self.path = Path(config.output_dir) / LAST

    def on_epoch_end(self, epoch, logs=None):
        checkpoint.save(self.model, self.path)


class Profiler(keras.callbacks.Callback):
    """Records the steps ``profile_steps`` asks for, for TensorBoard."""

    def __init__(self, config: Config):
        super().__init__()
        self.first, self.last = config.profile_steps
        self.folder = os.path.join(config.output_dir, "train")
        self.recording = False

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.step) == self.first:
            tf.profiler.experimental.start(self.folder)
            self.recording = True

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.step) == self.last:
            self.on_train_end()

    def on_train_end(self, logs=None):
        if self.recording:  # a run may be stopped, or resumed, between the two
            tf.profiler.experimental.stop()
            self.recording = False


class Stopped(Exception):
    """Leaves an evaluation of a run that was told to stop."""


class StopOnSignal(keras.callbacks.Callback):
    """Ctrl-C and SIGTERM end the run after the step or the evaluated image in hand, with a
    checkpoint from which it goes on exactly.
    """

    def __init__(self):
        super().__init__()
        self.received = None

    def __enter__(self):
        self.previous = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.received:  # asked twice: at once
            raise KeyboardInterrupt
        self.received = number

    def on_train_batch_end(self, batch, logs=None):
        if self.received:
            self.model.stop_training = True

    def on_predict_batch_end(self, batch, logs=None):
        self.check()

    def check(self):
        """Raises ``Stopped`` if the run was told to stop."""
        if self.received:
            raise Stopped


def read_evaluations(folder: str | os.PathLike) -> list[dict]:
    """Reads the evaluations that a run has written so far, oldest first."""
    path = Path(folder) / EVALUATIONS
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def forget_evaluations_after(folder: str | os.PathLike, step: int) -> None:
    """Drops evaluations of steps that a resumed run will take again."""
    kept = [evaluation for evaluation in read_evaluations(folder) if evaluation["step"] <= step]
    text = "".join(json.dumps(evaluation) + "\n" for evaluation in kept)
    (Path(folder) / EVALUATIONS).write_text(text, encoding="utf-8")
