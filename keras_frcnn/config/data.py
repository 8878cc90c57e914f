"""Settings of the data: where the images and annotations are, and which of them are used."""

import dataclasses
from collections.abc import Iterable

from keras_frcnn.config.concern import Concern, Problem
from keras_frcnn.config.setting import NOT_NEGATIVE, Limits, setting

# The reader of every data format. Adding a format takes one module, and one line here.
DATASETS = {
    "voc": "keras_frcnn.data.readers.voc",
    "coco": "keras_frcnn.data.readers.coco",
    "tfrecord": "keras_frcnn.data.readers.tfrecord",
    "tfds": "keras_frcnn.data.readers.tfds",
    "yolo": "keras_frcnn.data.readers.yolo",
    "folder": "keras_frcnn.data.readers.folder",
}

SPLIT_FILE = "split.json"
"""Name of the file in a run folder that lists the images of a plain folder in each split."""

TRAIN_IMAGES_FILE = "train_images.json"
"""Name of the file in a run folder that lists the images that the run trains on."""

_AND, _NONE = "+", "-"  # in entries of train_split and eval_split


@dataclasses.dataclass(frozen=True)
class DataSource:
    """One dataset of a config, as its reader needs it. ``str`` returns its name in messages.

    Attributes:
        dataset: Its format, one of ``DATASETS``.
        data_dir: Its folder; empty if it has none.
        splits: The names of the image sets to read.
        on_bad_record: The setting of this name.
        classes_file: The setting of this name, for data whose classes are only numbers.
        annotated: Whether the objects are read. If not, annotations are ignored, and data in VOC's
            and COCO's formats need not have any.
        split: The setting of this name: the fractions of a plain folder's images.
        seed: The seed with which these splits are drawn.
        split_file: The file in which a run stores the drawn splits; empty if there is no run.
    """

    dataset: str
    data_dir: str
    splits: tuple[str, ...]
    on_bad_record: str
    classes_file: str = ""
    annotated: bool = True
    split: tuple[float, ...] = ()
    seed: int = 0
    split_file: str = ""

    def __str__(self) -> str:
        return f"{self.dataset} in {self.data_dir}" if self.data_dir else self.dataset


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Concern):
    """Where the data is, and which of it is used."""

    dataset: tuple[str, ...] = setting(
        ("voc",),
        "Format of the data: PASCAL VOC's folders of XML files (voc), COCO's JSON (coco), "
        "TFRecords of tf.Example (tfrecord), TensorFlow Datasets (tfds), YOLO's data.yaml (yolo), "
        "or a plain folder of images with a VOC .xml or YOLO .txt file beside each (folder). "
        "Several datasets, as in voc,coco, are joined: the first one defines the classes, and the "
        "classes of the others are matched to them by name (diningtable = Dining Table, aeroplane "
        "= airplane). "
        "Objects of all other classes are left out and reported; the area they cover counts as "
        "background.",
        group="data",
        choices=tuple(DATASETS),
        limits=Limits(nonempty=True),
        common=True,
    )
    data_dir: tuple[str, ...] = setting(
        (),
        "Folder of the data: a VOCdevkit or a single VOC folder, COCO's folder that contains "
        "annotations/, your own data in any of the formats, or the folder of TensorFlow Datasets "
        "(empty for its default). For several datasets, give one folder for all or one for each, "
        "with - for a dataset that needs none.",
        group="data",
        common=True,
    )
    train_split: tuple[str, ...] = setting(
        ("trainval",),
        "Image sets to train on, one entry per dataset. Within an entry, + joins image sets and - "
        "means none; the image sets of a single dataset may also be separated by commas. "
        "Examples: VOC2007/trainval+VOC2012/trainval for a VOCdevkit; train2017 for COCO, or the "
        "path of a .json file, followed by :FOLDER if its images are elsewhere; train or a pattern "
        "such as train-*.tfrecord for TFRecords; voc/2007:train+validation for TensorFlow "
        "Datasets.",
        group="data",
        common=True,
    )
    eval_split: tuple[str, ...] = setting(
        ("test",),
        "Image sets to evaluate on, written as for train_split. A single - turns evaluation off.",
        group="data",
        common=True,
    )
    split: tuple[float, ...] = setting(
        (),
        "Fractions of a plain folder's images for training and for evaluation, drawn at random "
        "with the seed; needs dataset=folder. The image sets are named trainval and test, like the "
        "defaults of train_split and eval_split. Typical: 0.8,0.2.",
        group="data",
        limits=Limits(above=0, lengths=(0, 2)),
    )
    split_seed: int = setting(
        -1,
        "Seed with which the images of a plain folder are split; -1 means --seed. If it is fixed, "
        "runs with different seeds are evaluated on the same images.",
        group="data",
        limits=Limits(at_least=-1),
    )
    train_images: int = setting(
        0,
        "Number of images of the training split to train on, drawn with the seed; 0 means all. A "
        "smaller number draws a part of what a larger one draws. Every class is among the images, "
        "unless there are too few of them. train_images.json in the run folder lists them.",
        group="training",
        limits=NOT_NEGATIVE,
    )
    classes_file: str = setting(
        "",
        "Text file with one class name per line, to which the classes of the data are matched. "
        "Without it, the class names are taken from the annotations.",
        group="data",
    )
    difficult: str = setting(
        "auto",
        "How training treats VOC's difficult objects and COCO's crowd regions. 'drop' leaves them "
        "out. 'keep' treats them like any other object. 'ignore' treats them as neither object nor "
        "background: nothing is learned from regions that lie mostly inside them. 'auto' drops "
        "VOC's difficult objects, as in the released code, and ignores COCO's crowd regions, even "
        "if both datasets are joined.",
        group="data",
        choices=("auto", "drop", "keep", "ignore"),
    )
    include_empty: bool = setting(
        True,
        "Whether images without objects are used for training, as pure background. Images whose "
        "objects all belong to classes that are left out count as images without objects.",
        group="data",
    )
    on_bad_record: str = setting(
        "error",
        "What to do about an unreadable image, a broken annotation or an impossible box: 'error' "
        "stops and reports it; 'skip' leaves it out and reports it.",
        group="data",
        choices=("error", "skip"),
    )
    check_images: bool = setting(
        True,
        "Whether every image is decoded once at the start, so that a broken image is found before "
        "training or evaluation begins. This takes about 1 ms per image and core. Without it, a "
        "broken image stops the run when it is reached.",
        group="data",
        former=("check_pictures",),
    )

    def contradictions(self) -> list[Problem]:
        """Returns the contradictions between the settings of the data."""
        problems = super().contradictions()
        for name in ("train_split", "eval_split"):
            image_sets = _image_sets(getattr(self, name))
            if not image_sets or not all(image_sets):
                sentence = f"{{{name}}} must name image sets. Received: {{{name}.value!r}}"
                problems.append(self._problem(sentence))
            files = [one for one in image_sets if one.partition(":")[0].endswith(".json")]
            if files and "coco" not in self.dataset:
                sentence = f"{{{name}}}={{file}} is a COCO file and needs {{dataset}}=coco"
                problems.append(self._problem(sentence, file=files[0]))
        if len(self.data_dir) not in (0, 1, len(self.dataset)):
            sentence = (
                "{data_dir} must be one folder for all, or one for each of the {count} datasets "
                "({datasets}). Received: {data_dir.value!r}"
            )
            datasets = ", ".join(self.dataset)
            problems.append(self._problem(sentence, count=len(self.dataset), datasets=datasets))
        if self.split and "folder" not in self.dataset:
            problems.append(self._problem("{split} needs {dataset}=folder"))
        if sum(self.split) > 1 + 1e-9:
            sentence = "{split} must be fractions that sum to at most 1. Received: {split.value!r}"
            problems.append(self._problem(sentence))
        return problems

    def resolve_difficult(self, form: str) -> str:
        """Returns ``difficult`` with 'auto' resolved.

        Args:
            form: The format of the records: "voc" or "coco".
        """
        if self.difficult != "auto":
            return self.difficult
        return "drop" if form == "voc" else "ignore"

    @property
    def is_evaluated(self) -> bool:
        """Whether there are image sets to evaluate on."""
        return any(image_set != _NONE for image_set in _image_sets(self.eval_split))

    def sources(self, splits: tuple[str, ...]) -> tuple[DataSource, ...]:
        """Pairs the datasets with their folders and with the image sets to read.

        Args:
            splits: ``train_split``, ``eval_split``, or entries in the same format.

        Returns:
            The datasets that have an image set to read, in their order.

        Raises:
            ValueError: If there is not exactly one entry per dataset, or no entry names an image
                set.
        """
        entries = [splits] if len(self.dataset) == 1 else [(entry,) for entry in splits]
        image_sets = [_image_sets(e for e in group if e != _NONE) for group in entries]
        if len(image_sets) != len(self.dataset) or not any(image_sets):
            raise ValueError(
                f"expected one entry of image sets for each of the datasets "
                f"{', '.join(self.dataset)}, with {_AND} between the image sets of one dataset and "
                f"{_NONE} for none. Received: {','.join(splits) or 'none'}"
            )
        folders = self.data_dir or (_NONE,)
        folders = folders if len(folders) > 1 else folders * len(image_sets)
        return tuple(
            DataSource(
                dataset,
                "" if folder == _NONE else folder,
                names,
                self.on_bad_record,
                self.classes_file,
                split=self.split if dataset == "folder" else (),
            )
            for dataset, folder, names in zip(self.dataset, folders, image_sets, strict=True)
            if names
        )


def _image_sets(entries: Iterable[str]) -> tuple[str, ...]:
    """Returns the image sets that entries of ``train_split`` or ``eval_split`` name."""
    return tuple(image_set for entry in entries for image_set in entry.split(_AND))
