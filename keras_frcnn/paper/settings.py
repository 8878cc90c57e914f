"""The settings that all rows of one reproduction share."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from keras_frcnn.config import Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What all rows share.

    Attributes:
        output_dir: the folder for the tables and all runs.
        configs_dir: the folder of the flagfiles.
        data_dir: the VOCdevkit.
        coco_dir: the COCO folder; empty: none.
        replaced_splits: maps image sets that the paper uses to those used in their place.
        seeds: each row is run once for each of these.
        budget_minutes: the training time of each model; None: its full schedule.
        overrides: flags of ``train`` that override the flagfiles.
        data_overrides: the overrides that concern how data are read.
        edge_model: the EdgeBoxes model file; empty: none.
    """

    output_dir: Path
    configs_dir: Path
    data_dir: str = ""
    coco_dir: str = ""
    replaced_splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    budget_minutes: float | None = None
    overrides: tuple[str, ...] = ()
    data_overrides: tuple[str, ...] = ()
    edge_model: str = ""

    @property
    def fixed(self) -> dict[str, object]:
        """The settings that must stay the same for all calls with one output folder, for JSON."""
        return {
            "budget": "full" if self.budget_minutes is None else self.budget_minutes,
            "replaced_splits": dict(self.replaced_splits),
            "overrides": list(self.overrides),
        }

    def folder_of(self, dataset: tuple[str, ...]) -> str:
        """Returns the data folder for the ``dataset`` of a flagfile."""
        return self.coco_dir if dataset == ("coco",) else self.data_dir

    def splits(self, published: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the image sets that are used for those of the paper."""
        return tuple(self.replaced_splits.get(split, split) for split in published)

    def data_flags(self, config: Config) -> tuple[str, str, str]:
        """Returns the flags for the data of a flagfile: folder, training and evaluation splits."""
        return (
            f"--data_dir={self.folder_of(config.dataset)}",
            f"--train_split={','.join(self.splits(config.train_split))}",
            f"--eval_split={','.join(self.splits(config.eval_split))}",
        )
