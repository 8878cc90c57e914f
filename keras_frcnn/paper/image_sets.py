"""Looks up the image sets of the rows: which of them are there, and how many images they have."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

from keras_frcnn.config import Config
from keras_frcnn.data.readers import voc
from keras_frcnn.paper.settings import Settings


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """One image set.

    Attributes:
        images: identifiers of its images; None for COCO, whose annotation file would have to be
            read for them.
        is_annotated: whether all its images have annotations. Those of the VOC 2012 test set, for
            example, are not public.
    """

    images: frozenset[Path] | None
    is_annotated: bool


class ImageSets:
    """The image sets of all rows. Each is looked up once.

    Args:
        settings: the folders, and the image sets that replace those of the paper.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._find = functools.cache(self._look_up)

    def describe(self, config: Config, split: str) -> str:
        """Returns the names of image sets with their numbers of images.

        Where an image is in several of them, as those of train are in trainval, the later ones also
        say how many of their images are new, because training uses each image once.

        Args:
            config: the settings of a row's model.
            split: "train_split" or "eval_split".
        """
        seen, texts = set(), []
        for name in self._names(config, split):
            try:
                images = self._find(config.dataset, name).images
            except ValueError:
                images = None
            if images is None:
                texts.append(name)
                continue
            new = len(images - seen)
            seen |= images
            note = "" if new == len(images) else f", {new} of them new"
            texts.append(f"{name} ({len(images)}{note})")
        return " + ".join(texts)

    def obstacle(self, config: Config, *splits: str) -> str:
        """Says what is missing of the image sets of ``splits``; empty if nothing is missing."""
        found = [text for split in splits for text in self._obstacles(config, split)]
        return "; ".join(dict.fromkeys(found))

    def can_be_measured(self, config: Config) -> bool:
        """Says whether the evaluation images have annotations.

        Image sets that are missing count as annotated: nothing can run on them anyway.
        """
        try:
            found = [self._find(config.dataset, name) for name in self._names(config, "eval_split")]
        except ValueError:
            return True
        return all(image_set.is_annotated for image_set in found)

    def _obstacles(self, config: Config, split: str) -> Iterator[str]:
        for name in self._names(config, split):
            try:
                image_set = self._find(config.dataset, name)
            except ValueError as error:
                yield str(error)
                continue
            if split == "train_split" and not image_set.is_annotated:
                yield f"needs the annotations of {name}"

    def _names(self, config: Config, split: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._settings.splits(getattr(config, split))))

    def _look_up(self, dataset: tuple[str, ...], name: str) -> ImageSet:
        """Finds an image set.

        Raises:
            ValueError: saying what is missing, in the words of a table's cell.
        """
        folder, is_coco = self._settings.folder_of(dataset), dataset == ("coco",)
        if not folder:
            raise ValueError(f"needs --{'coco_dir' if is_coco else 'data_dir'} with {name}")
        if is_coco:
            file = Path(folder) / "annotations" / f"instances_{name}.json"
            if not file.is_file():
                raise ValueError(f"needs {file}")
            return ImageSet(None, True)
        try:
            entries = voc.entries(folder, [name])
        except ValueError:
            raise ValueError(f"needs {name} in {folder}") from None
        annotations = frozenset(entry.annotation for entry in entries)
        return ImageSet(annotations, all(file.is_file() for file in annotations))
