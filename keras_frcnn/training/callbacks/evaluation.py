"""Evaluates a run at the end of every interval and keeps its best checkpoint."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_frcnn import files
from keras_frcnn.console import COMPILING
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.files import to_image
from keras_frcnn.drawing.detections import draw_panels
from keras_frcnn.evaluation.metrics import proposal_recall
from keras_frcnn.evaluation.metrics.evaluate import evaluate
from keras_frcnn.evaluation.report import console_tables, scalars
from keras_frcnn.inference.eval_losses import EvalLosses, evenly_spread
from keras_frcnn.inference.over_dataset import detect_dataset, propose_dataset
from keras_frcnn.training import run_folder
from keras_frcnn.training.callbacks.stop import Stop, Stopped
from keras_frcnn.training.optimizers import averaged_weights
from keras_frcnn.training.progress import ProgressBar, losses_text
from keras_frcnn.training.schemes import Phase


class Evaluator(keras.callbacks.Callback):
    """Measures AP, the recall of the proposals and the losses on the evaluation split.

    The metric is VOC's or COCO's, depending on the format of the data. In a phase that does not
    train the second stage, no AP is measured. The losses have the same names as in training, so
    TensorBoard draws both in one chart. The results are written to the console, to TensorBoard and
    to ``evaluations.jsonl``. In the final phase, the checkpoint with the highest
    mean AP (VOC: area under the curve; COCO: over ten IoU thresholds) is kept as ``best.keras``,
    and the run ends if the mean AP has not risen for ``patience`` evaluations. What is measured are
    the averaged weights, if there are any.

    This callback must come after ``Checkpoints`` in the list of callbacks, so that the checkpoint
    is written before an evaluation that may take hours. A run that is told to stop skips its
    evaluation and catches up on it when it is resumed.

    Args:
        phase: the phase of the run.
        dataset: the evaluation split.
        bar: the run's progress bar.
        stop: the callback that knows whether the run was told to stop.
    """

    def __init__(self, phase: Phase, dataset: Dataset, bar: ProgressBar, stop: Stop):
        super().__init__()
        self.phase, self.config, self.dataset = phase, phase.config, dataset
        self.bar, self.stop = bar, stop
        self.has_compiled = False
        self.folder = Path(self.config.output_dir)
        self.eval_losses: EvalLosses | None = None  # kept, because its graph takes seconds to make
        self.replicas = stop.replicas
        if self.replicas.is_first:
            self.writer = tf.summary.create_file_writer(str(self.folder / run_folder.EVAL_EVENTS))

    def on_epoch_end(self, epoch, logs=None):
        if not self.model.stop_training:
            self.evaluate()

    def evaluate(self):
        """Evaluates the model, whose current weights must have been saved as ``last.keras``."""
        step = int(self.model.step.numpy())
        if not self.has_compiled:
            self.bar.console.print(f"evaluation: {COMPILING}")
            self.has_compiled = True
        try:
            with averaged_weights(self.model):
                detections, proposals = self._find()
                losses = self._losses()
        except Stopped:
            self.model.stop_training = True
            return
        name = ""
        if self.replicas.is_first:
            name = self._report(step, detections, proposals, losses)
        if self.replicas.of_first(self.replicas.is_first and is_out_of_patience(self.phase)):
            text = f"no better {name} in {self.config.patience} evaluations"
            self.bar.console.print(f"Ending at step {step}: {text} (--patience)")
            self.model.stop_training = True

    def _report(self, step, detections, proposals, losses):
        """Measures what was found, writes and prints it, and returns the first figure's name."""
        recall = self._recall(proposals)
        result = None if detections is None else evaluate(self.dataset, detections)
        origin = "rpn" if result is None else self.config.test_proposals
        values = scalars.of_result(result, recall, proposal_recall.source_of(origin)) | losses
        run_folder.append_evaluation(self.folder, step, self.phase.name, values)
        self._keep_if_best()
        self._print(result, recall, losses)
        self._write_events(step, values, detections, proposals)
        return next(iter(values))

    def _find(self):
        """Returns the detections and the proposals on all images.

        The detections are None if the phase does not train the second stage.
        """
        num_images = len(self.dataset.records)
        if "roi" in self.model.learning_stages:
            num_predictions = num_images * len(self.config.sizes(self.config.test_shorter_sides))
            with self.bar.evaluation(num_predictions) as bar_callback:
                callbacks = [bar_callback, self.stop]
                return detect_dataset(self.model, self.dataset, self.config, callbacks=callbacks)
        proposals = []
        found = propose_dataset(self.model, self.dataset, self.config)
        for _, boxes, scores in self.bar.count(found, "evaluate", num_images):
            self.stop.check()
            proposals.append({"boxes": boxes, "scores": scores})
        return None, proposals

    def _losses(self):
        """Returns the mean losses of some evaluation images, always the same ones."""
        if not self.config.eval_loss_images or not self.dataset.records:
            return {}
        if self.eval_losses is None:
            self.eval_losses = EvalLosses(self.model, self.dataset, self.config)
        found, num_images = [], len(self.eval_losses.rows)
        for of_image in self.bar.count(self.eval_losses.of_images(), "losses", num_images):
            self.stop.check()
            found.append(of_image)
        return {name: float(np.mean([one[name] for one in found])) for name in found[0]}

    def _recall(self, proposals):
        """Returns the recall at an IoU of 0.5 for each number of proposals per image."""
        gt_boxes = [record.boxes[~record.difficult] for record in self.dataset.records]
        boxes = [of_image["boxes"] for of_image in proposals]
        recall = proposal_recall.recall(gt_boxes, boxes)[:, 0]
        return dict(zip(proposal_recall.NUM_PROPOSALS, recall, strict=True))

    def _print(self, result, recall, losses):
        if result is None:
            text = ", ".join(f"{value:.3f} at {number}" for number, value in recall.items())
            self.bar.console.print(f"recall of the RPN's proposals: {text}")
        else:
            console_tables.print_table(result, self.bar.console)
        if losses:
            images = f"{len(self.eval_losses.rows)} of {len(self.dataset.records)} images"
            text = f"evaluation losses, {images}: {losses_text(losses)}"
            self.bar.console.print(text)

    def _write_events(self, step, values, detections, proposals):
        with self.writer.as_default(step=step):
            for name, value in scalars.with_overview(values).items():
                tf.summary.scalar(name, value)
            self._draw_images(detections, proposals)
        self.writer.flush()

    def _draw_images(self, detections, proposals):
        records = self.dataset.records
        for row in evenly_spread(len(records), self.config.num_images):
            record = records[row]
            panels = draw_panels(
                to_image(record),
                self.dataset.class_names,
                gt={"boxes": record.boxes, "labels": record.labels, "difficult": record.difficult},
                proposals=proposals[row],
                detections=detections and detections[record.image_id],
            )
            tf.summary.image(f"images/{record.image_id}", panels[np.newaxis])

    def _keep_if_best(self):
        """Copies the last checkpoint to ``best.keras`` if it has the final phase's best value."""
        *earlier, current = _figures(self.phase)
        if self.phase.is_final and current >= max(earlier, default=0.0):
            files.link_or_copy(
                self.folder / run_folder.LAST_CHECKPOINT, self.folder / run_folder.BEST_CHECKPOINT
            )


def is_out_of_patience(phase: Phase) -> bool:
    """Returns whether the run ends early: its last evaluations, as many as ``patience``, have not
    raised the figure by which checkpoints are compared.

    Only the final phase can end early.
    """
    figures, patience = _figures(phase), phase.config.patience
    if not phase.is_final or not patience or not figures:
        return False
    return len(figures) - 1 - figures.index(max(figures)) >= patience


def _figures(phase):
    """Returns the first figure of every evaluation of a phase, with 0 for undefined ones."""
    evaluations = run_folder.read_evaluations(phase.config.output_dir)
    of_phase = [one for one in evaluations if one["step"] > phase.first_step]
    names = [name for one in of_phase[-1:] for name in one if name not in ("step", "phase")]
    return [one.get(names[0]) or 0.0 for one in of_phase]
