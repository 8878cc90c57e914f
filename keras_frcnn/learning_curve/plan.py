"""Plans the rows of a learning curve: a training and its evaluation for each start, size and seed.

A start is what training starts from, such as random weights or a checkpoint, with its settings.
"""

import dataclasses
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_frcnn.config import Config
from keras_frcnn.tasks.task import DONE, Task
from keras_frcnn.tasks.times import training_seconds

NUM_CHOSEN_SIZES = 4
ALL = "all"


@dataclasses.dataclass(frozen=True)
class Row:
    """One training run and its evaluation."""

    start: str
    size: int
    seed: int

    def __str__(self) -> str:
        return f"{self.start}, {self.size} images, seed {self.seed}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run.

    Attributes:
        output_dir: the folder for everything.
        settings: for each start, the settings that its flags give.
        flags: for each start, the flags of ``train`` that all its rows share.
        sizes: the numbers of training images, ascending.
        seeds: each size of each start is run once with each of these.
        num_images: the number of images to train on in the training split.
        num_evaluated: the number of images in the evaluation split.
    """

    output_dir: Path
    settings: Mapping[str, Config]
    flags: Mapping[str, Sequence[str]]
    sizes: Sequence[int]
    seeds: Sequence[int]
    num_images: int
    num_evaluated: int

    @property
    def rows(self) -> list[Row]:
        """All rows in running order: the first seed gives a whole curve of each start."""
        return [
            Row(start, size, seed)
            for seed in self.seeds
            for size in self.sizes
            for start in self.settings
        ]

    def folder(self, row: Row) -> Path:
        """The run folder of a row."""
        return self.output_dir / "runs" / row.start / f"{row.size}_images" / f"seed_{row.seed}"

    def config(self, row: Row) -> Config:
        """The settings of a row's training.

        Nothing is evaluated during training: the last checkpoint is measured, because the best one
        would have been chosen on the evaluation images.
        """
        return self.settings[row.start].replace(
            train_images=row.size,
            seed=row.seed,
            eval_split=("-",),
            output_dir=str(self.folder(row)),
        )

    def timing(self, start: str) -> Task:
        """Returns the task that measures how long the steps and the evaluation of a start take."""
        settings = zlib.crc32(repr((self.flags[start], self.sizes[-1])).encode())
        file = self.output_dir / "times" / f"{start}_{settings:08x}.json"
        return Task(
            title=f"time the steps of {start}",
            command="train",
            flags=(
                *self.flags[start],
                f"--train_images={self.sizes[-1]}",
                f"--output_dir={file.parent}",
                "--dry_run",
                f"--dry_run_file={file}",
            ),
            result=file,
        )

    def training(self, row: Row) -> Task:
        """Returns the task that trains a row."""
        folder = self.folder(row)
        return Task(
            title=f"train {row}",
            command="train",
            flags=(
                *self.flags[row.start],
                f"--train_images={row.size}",
                f"--seed={row.seed}",
                "--eval_split=-",
                f"--output_dir={folder}",
            ),
            result=folder / DONE,
        )

    def evaluation(self, row: Row) -> Task:
        """Returns the task that measures a row on the evaluation split."""
        trained = self.training(row)
        folder = trained.result.parent / "evaluation"
        return Task(
            title=f"evaluate {row}",
            command="evaluate",
            flags=(
                f"--checkpoint={trained.checkpoint}",
                f"--eval_split={','.join(self.settings[row.start].eval_split)}",
                "--resamples=0",
                f"--output_dir={folder}",
            ),
            result=folder / DONE,
            needs=(trained,),
        )

    def seconds(self) -> dict[Path, float]:
        """Returns how long tasks take, by their results, as far as their starts were timed."""
        found = {}
        for row in self.rows:
            times = self.timing(row.start)
            if times.is_done:
                measured = json.loads(times.result.read_text(encoding="utf-8"))
                evaluation = self.evaluation(row)
                found[evaluation.result] = self.num_evaluated * measured["evaluation"]
                (training,) = evaluation.needs
                found[training.result] = training_seconds(self.config(row), measured)
        return found

    @property
    def fixed(self) -> dict[str, Any]:
        """What must stay the same for all calls with one output folder, by its name, for JSON.

        The folder of the data may move, so it is not among it.
        """
        free = {"output_dir", "data_dir", "seed", "train_images"}
        values = {
            f"--{name} of {start}": value
            for start, config in self.settings.items()
            for name, value in config.to_dict().items()
            if name not in free and Config.options()[name].group != "watching"
        }
        numbers = {"training": self.num_images, "evaluation": self.num_evaluated}
        return values | {f"the number of {of} images": n for of, n in numbers.items()}


def choose_sizes(asked: Iterable[str], num_images: int) -> list[int]:
    """Returns the numbers of training images, ascending.

    Args:
        asked: numbers, or "all"; empty: an eighth, a quarter, half and all of the images.
        num_images: the number of images to train on.

    Raises:
        ValueError: if a size is no number, or there are not so many images.
    """
    asked = list(asked)
    if not asked:
        parts = (num_images >> halvings for halvings in range(NUM_CHOSEN_SIZES))
        return sorted({part for part in parts if part})
    wrong = [text for text in asked if text != ALL and not _is_size(text, num_images)]
    if wrong:
        raise ValueError(
            f"--sizes must be '{ALL}' or integers from 1 to {num_images}, the number of images to "
            f"train on. Received: {wrong[0]}"
        )
    return sorted({num_images if text == ALL else int(text) for text in asked})


def _is_size(text: str, most: int) -> bool:
    return text.isdecimal() and 1 <= int(text) <= most
