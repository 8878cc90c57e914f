"""Plans the commands that make rows and curves, each with the file that shows it is done.

Rows share tasks: a model is trained once and evaluated in several ways.
"""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

from keras_frcnn.config import Config
from keras_frcnn.paper import budget, rows
from keras_frcnn.paper.image_sets import ImageSets
from keras_frcnn.paper.settings import Settings
from keras_frcnn.tasks.task import DONE, Task


class Planner:
    """Makes the tasks of rows and curves.

    Args:
        settings: what all rows share.
        read_config: returns a model's settings by the name of its flagfile, overrides included.
        method_obstacle: says what a method of ``rows.METHODS`` lacks to make proposals; empty if it
            lacks nothing.

    Attributes:
        settings: as given.
        config: ``read_config``, called once for each model.
        method_obstacle: as given, called once for each method.
    """

    def __init__(
        self,
        settings: Settings,
        read_config: Callable[[str], Config],
        method_obstacle: Callable[[str], str],
    ):
        self.settings = settings
        self.config = functools.cache(read_config)
        self.method_obstacle = functools.cache(method_obstacle)
        self._image_sets = ImageSets(settings)

    # --- tasks

    def evaluation(self, row: rows.Row, seed: int) -> Task:
        """Returns the task that measures a row.

        Its ``done.json`` lies beside ``results.json``, or beside the detections if the test images
        have no annotations.
        """
        config, trained = self.config(row.model), self.training(row.model, seed)
        folder = self.settings.output_dir / "evaluations" / row.name / f"seed_{seed}"
        needs, flags = (trained,), row.evaluate_flags
        if row.proposals:
            proposals = self.proposals(row.proposals, "eval_split", config, seed)
            needs, flags = (trained, proposals), (f"--test_proposals={proposals.result}", *flags)
        if not self._image_sets.can_be_measured(config):
            flags = (*flags, "--detections_only")
        data_dir, _, eval_split = self.settings.data_flags(config)
        return Task(
            title=f"evaluate {row.name}, seed {seed}",
            command="evaluate",
            flags=(
                f"--checkpoint={trained.checkpoint}",
                *(data_dir, eval_split),
                *flags,
                "--resamples=0",
                f"--output_dir={folder}",
            ),
            result=folder / DONE,
            needs=needs,
            obstacle=self._image_sets.obstacle(config, "eval_split"),
        )

    def training(self, name: str, seed: int) -> Task:
        """Returns the task that trains a model."""
        model, config = rows.MODELS[name], self.config(name)
        needs, flags = (), ()
        if model.proposal_method:
            needs = tuple(
                self.proposals(rows.Proposals(model.proposal_method), split, config, seed)
                for split in ("train_split", "eval_split")
            )
            files = zip(("train_proposals", "test_proposals"), needs, strict=True)
            flags = tuple(f"--{flag}={task.result}" for flag, task in files)
        if model.start_model:
            needs = (self.training(model.start_model, seed),)
            flags = (f"--start_checkpoint={needs[0].checkpoint}",)
        data_dir, train_split, eval_split = self.settings.data_flags(config)
        if not self._image_sets.can_be_measured(config):
            eval_split = "--eval_split=-"
        folder = self.settings.output_dir / "models" / name / f"seed_{seed}"
        task = Task(
            title=f"train {name}, seed {seed}",
            command="train",
            flags=(
                f"--flagfile={self.settings.configs_dir / name}.cfg",
                *self.settings.overrides,
                *(data_dir, train_split, eval_split),
                *flags,
                f"--seed={seed}",
                f"--output_dir={folder}",
            ),
            result=folder / DONE,
            needs=needs,
            obstacle=self._image_sets.obstacle(config, "train_split", "eval_split"),
        )
        return task if self.settings.budget_minutes is None else self._within_budget(task, name)

    def _within_budget(self, task: Task, name: str) -> Task:
        """Adds a dry run that measures the model's steps, and the schedule that follows from it."""
        file = self._measured_times(name)
        dry_run = dataclasses.replace(
            task,
            title=f"time the steps of {name}",
            flags=(*task.flags, "--dry_run", f"--dry_run_file={file}"),
            result=file,
        )
        return dataclasses.replace(
            task,
            needs=(*task.needs, dry_run),
            deferred_flags=lambda: budget.schedule_flags(self.config(name), self.schedule(name)),
        )

    def proposals(self, source: rows.Proposals, split: str, config: Config, seed: int) -> Task:
        """Returns the task that writes proposals for "train_split" or "eval_split" of a model."""
        image_sets = "_".join(self.settings.splits(getattr(config, split))).replace("/", "-")
        data_dir, train_split, eval_split = self.settings.data_flags(config)
        images = (data_dir, train_split if split == "train_split" else eval_split)
        images += (f"--subset={split}",)
        if source.model:
            trained = self.training(source.model, seed)
            variant = f"-{source.variant}" if source.variant else ""
            stem = f"rpn-{source.model}{variant}-{image_sets}-seed_{seed}"
            checkpoint = f"--checkpoint={trained.checkpoint}"
            flags = ("--method=rpn", checkpoint, *images, *source.propose_flags)
            needs = (trained,)
        else:
            stem = f"{source.method}-{image_sets}"
            flags = (f"--method={source.method}", *images, *self.settings.data_overrides)
            if source.method == rows.EDGE_BOXES:
                flags += (f"--edge_model={self.settings.edge_model}",)
            needs = ()
        file = self.settings.output_dir / "proposals" / f"{stem}.npz"
        obstacle = self._image_sets.obstacle(config, split)
        if not obstacle and not source.model and not file.is_file():
            obstacle = self.method_obstacle(source.method)
        return Task(
            title=f"proposals {stem}",
            command="propose",
            flags=(*flags, f"--output_file={file}"),
            result=file,
            needs=needs,
            obstacle=obstacle,
        )

    def curve(self, curve: rows.Curve, seed: int) -> Task:
        """Returns the task that writes the proposals of a curve of figure 4."""
        config = self.config(curve.proposals.model or "zf_ss")
        task = self.proposals(curve.proposals, "eval_split", config, seed)
        if task.obstacle or self._image_sets.can_be_measured(config):
            return task
        return dataclasses.replace(task, obstacle="needs the annotations of the test images")

    def benchmark(self, name: str) -> Task:
        """Returns the task that times a detector for table 5, by its name in the benchmarks.

        Its result lies beside ``times.json``.
        """
        folder = self.settings.output_dir.absolute() / "times" / name
        obstacle = ""
        if not Path("benchmarks", "__main__.py").is_file():
            obstacle = "needs the benchmarks, which are in a checkout of the repository"
        elif name == "fast_rcnn":
            obstacle = self.method_obstacle(rows.SELECTIVE_SEARCH)
        return Task(
            title=f"time an image ({name})",
            module="benchmarks",
            command=name,
            flags=("--size=600x1000", "--precision=auto", f"--json={folder / 'times.json'}"),
            result=folder / DONE,
            obstacle=obstacle,
        )

    # --- facts about a model or a row

    def schedule(self, name: str) -> Config:
        """Returns a model's settings with the schedule that fits the budget.

        Raises:
            ValueError: if the budget is too small, or the model's steps have not been timed yet.
        """
        config = self.config(name)
        if self.settings.budget_minutes is None:
            return config
        try:
            measured = json.loads(self._measured_times(name).read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(
                f"the schedule of {name} is not known until its steps are timed"
            ) from error
        return budget.shorten(config, self.settings.budget_minutes, measured)

    def describe_data(self, row: rows.Row) -> str:
        """Returns the weights a row starts from, and the image sets it is trained and tested on."""
        config, start = self.config(row.model), rows.MODELS[row.model].start_model
        weights = self.config(start or row.model).backbone_weights
        start_weights = {"none": "random", "imagenet": "ImageNet"}.get(weights, weights)
        models = [start, row.model] if start else [row.model]
        trained = [self._image_sets.describe(self.config(name), "train_split") for name in models]
        tested = self._image_sets.describe(config, "eval_split")
        return f"{start_weights}: {', then '.join(trained)} -> {tested}"

    def _measured_times(self, name):
        return self.settings.output_dir / "models" / name / "dry_run.json"
