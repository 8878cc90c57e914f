"""What all rows share: data, seeds, time, settings that stand over the flagfiles'."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from keras_frcnn.config import Config
from keras_frcnn.data.readers import voc_layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What all rows share.

    Attributes:
        output_dir: of everything that is made.
        configs_dir: of the flagfiles.
        data_dir: VOC's devkit.
        coco_dir: COCO's folder; empty: none.
        replaced_splits: for image sets that the paper names, others that take their place.
        seeds: one run of each row for each.
        minutes: to train each model in; None: its full schedule.
        overrides: flags of ``train`` that stand over the flagfiles'.
        data_overrides: those of them that say how data are read.
        edge_model: EdgeBoxes' model; empty: none.
    """

    output_dir: Path
    configs_dir: Path
    data_dir: str = ""
    coco_dir: str = ""
    replaced_splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    minutes: float | None = None
    overrides: tuple[str, ...] = ()
    data_overrides: tuple[str, ...] = ()
    edge_model: str = ""

    @property
    def shared(self) -> dict[str, object]:
        """What must not change between two calls that fill one output folder, as JSON has it."""
        return {
            "budget": "full" if self.minutes is None else self.minutes,
            "replaced_splits": dict(self.replaced_splits),
            "overrides": list(self.overrides),
        }

    def folder_of(self, dataset: tuple[str, ...]) -> str:
        """Returns the folder of a flagfile's dataset."""
        return self.coco_dir if dataset == ("coco",) else self.data_dir

    def splits(self, published: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the image sets that stand for the paper's."""
        return tuple(self.replaced_splits.get(split, split) for split in published)

    def data_flags(self, config: Config) -> tuple[str, ...]:
        """Returns the flags that name a flagfile's data as they are here."""
        return (
            f"--data_dir={self.folder_of(config.dataset)}",
            f"--train_split={','.join(self.splits(config.train_split))}",
            f"--eval_split={','.join(self.splits(config.eval_split))}",
        )

    def look(self, dataset: tuple[str, ...], split: str) -> tuple[int | None, bool]:
        """Looks at an image set.

        Args:
            dataset: a flagfile's.
            split: the image set, as it is called here.

        Returns:
            Its number of images, None for COCO's, which tell it only when they are read; and
            whether they have annotations, as those of VOC 2012's test set, not public, have not.

        Raises:
            ValueError: saying what is missing, in the words of a table's cell.
        """
        folder, is_coco = self.folder_of(dataset), dataset == ("coco",)
        if not folder:
            raise ValueError(f"needs --{'coco_dir' if is_coco else 'data_dir'} with {split}")
        if is_coco:
            file = Path(folder) / "annotations" / f"instances_{split}.json"
            if not file.is_file():
                raise ValueError(f"needs {file}")
            return None, True
        try:
            entries = voc_layout.entries(folder, [split])
        except ValueError:
            raise ValueError(f"needs {split} in {folder}") from None
        return len(entries), all(entry.annotation.is_file() for entry in entries)
