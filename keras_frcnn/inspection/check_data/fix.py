"""Writes a corrected copy of a data set in VOC's layout; the original is only read."""

import os
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.console import plain, with_progress
from keras_frcnn.data.images import pillow
from keras_frcnn.data.problems import ProblemKind
from keras_frcnn.data.readers import voc, voc_xml
from keras_frcnn.data.writers.new_folder import appearing
from keras_frcnn.inspection.check_data import samples
from keras_frcnn.inspection.check_data.checks import doubles
from keras_frcnn.inspection.check_data.findings import Report
from keras_frcnn.inspection.check_data.samples import Object, Sample

CHANGES = "changes.txt"

_CORNERS = ("ymin", "xmin", "ymax", "xmax")


def check_folder(config: Config, folder: str) -> None:
    """Makes sure that a corrected copy of the data may be written to a folder.

    Raises:
        ValueError: if the data are not one data set in VOC's layout, if the folder is not empty, or
            if the folder contains the data or lies inside them.
    """
    if not samples.has_voc_layout(config):
        raise ValueError(
            "--fix writes VOC's layout with its annotations. Received: --data_dir="
            f"{','.join(config.data_dir)} with --dataset={','.join(config.dataset)} in another "
            "layout"
        )
    path, root = Path(folder).resolve(), _root(config)
    if path.is_relative_to(root) or root.is_relative_to(path):
        raise ValueError(
            f"--fix must be a folder apart from --data_dir={root}. Received: {folder!r}"
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"--fix must be a new or empty folder. Received: {folder!r}")


def _root(config: Config) -> Path:
    return Path("".join(config.data_dir)).resolve()


def write(report: Report, folder: str) -> list[str]:
    """Writes the images, annotations and image sets of a check, with their faults corrected.

    Boxes are clipped. Objects without area, without class or drawn twice are dropped. Sizes are set
    to those of the images. Images are turned upright with their boxes and get the suffix of their
    content. Images and annotations that cannot be read are left out. Unknown classes and images in
    both sets stay, since a program cannot know what is right there.

    Args:
        report: the result of ``checks.check`` on data in VOC's layout.
        folder: a new or empty folder, which appears once everything is written. The list of changes
            is written into it too, as ``CHANGES``.

    Returns:
        One line for each change.

    Raises:
        ValueError: if the data has another layout, or the folder cannot be used.
    """
    check_folder(report.config, folder)
    with appearing(Path(folder)) as part:
        return _write(report, part.resolve())


def _write(report: Report, folder: Path) -> list[str]:
    changes = [f"{finding.line}; left out" for finding in report.findings if not finding.sample]
    by_annotation = {sample.annotation: sample for sample in report.source.samples}
    copier = _Copier(_root(report.config), folder, changes)
    total = len(by_annotation)
    kept = {
        annotation
        for annotation, sample in with_progress(by_annotation.items(), "Writing the copy", total)
        if copier.copy(sample)
    }
    subsets = {sample.subset for sample in report.source.samples}
    wanted = [report.config.train_split] + [report.config.eval_split] * ("eval" in subsets)
    for split in dict.fromkeys(s for w in wanted for s in report.config.sources(w)[0].splits):
        copier.copy_split(split, kept)
    text = "".join(f"{line}\n" for line in changes)
    (folder / CHANGES).write_text(text, encoding="utf-8")
    return changes


class _Copier:
    """Copies single images with their annotations and notes what it changes."""

    def __init__(self, root: Path, target: Path, changes: list[str]):
        self._root, self._target, self._changes = root, target, changes

    def copy(self, sample: Sample) -> bool:
        """Writes an image and its annotation, corrected; returns whether both were readable."""
        fault = sample.file.problem
        is_broken = fault is not None and fault[0] != "wrong_extension"
        if sample.path is None or sample.objects is None or is_broken:
            reasons = [fault[1]] if is_broken else []
            reasons += [problem.text for problem in sample.problems]
            words = "; ".join(reasons).replace(f"{self._root}/", "")
            self._note(sample, f"image left out: {words}")
            return False
        tree = voc_xml.parse(sample.annotation)
        changed = self._copy_image(sample, tree)
        if self._correct_size(sample, tree) | self._correct_objects(sample, tree) | changed:
            text = ElementTree.tostring(tree, encoding="utf-8")
            self._target_of(sample.annotation).write_bytes(text)
        else:
            shutil.copyfile(sample.annotation, self._target_of(sample.annotation))
        return True

    def copy_split(self, split: str, kept: set[Path]) -> None:
        """Writes an image set with the images whose annotations were kept."""
        entries = voc.entries(str(self._root), (split,), problems=[])
        lines = [entry.stem for entry in entries if entry.annotation in kept]
        for folder in {entry.folder for entry in entries}:
            path = folder / "ImageSets" / "Main" / f"{split.rpartition('/')[2]}.txt"
            text = "".join(f"{line}\n" for line in lines)
            self._target_of(path).write_text(text, encoding="utf-8")

    def _copy_image(self, sample: Sample, tree: Any) -> bool:
        path, suffix = sample.path, sample.path.suffix
        if sample.file.problem:
            suffix = sample.file.suffix
            self._note(sample, f"image renamed from {path.suffix} to {suffix}")
            name = tree.find("filename")
            if name is not None:
                name.text = f"{path.stem}{suffix}"
        target = self._target_of(path.with_suffix(suffix))
        if sample.file.orientation == 1:
            shutil.copyfile(path, target)
        else:
            self._note(sample, "image turned upright, written anew at quality 95")
            with Image.open(path) as image:
                form = "PNG" if image.format == "PNG" else "JPEG"
                upright = pillow.upright(image, sample.file.orientation)
                upright.save(target, form, quality=95, icc_profile=image.info.get("icc_profile"))
        return suffix != path.suffix

    def _correct_size(self, sample: Sample, tree: Any) -> bool:
        true = {"width": sample.file.width, "height": sample.file.height}
        size = tree.find("size")
        before = [None if size is None else size.findtext(tag) for tag in true]
        if [(text or "").strip() for text in before] == [str(side) for side in true.values()]:
            return False
        if size is None:
            size = ElementTree.SubElement(tree, "size")
        for tag, side in true.items():
            _child(size, tag).text = str(side)
        after = " x ".join(map(str, true.values()))
        words = f"size (width x height) set to {after}, it was {before[0]} x {before[1]}"
        self._note(sample, words)
        return True

    def _correct_objects(self, sample: Sample, tree: Any) -> bool:
        changed, doubled = False, doubles(sample.objects)
        for item, element in zip(sample.objects, tree.findall("object"), strict=True):
            leaves = item.problem is not None and item.problem.kind == ProblemKind.OUTSIDE_BOX
            words = item.problem.text if item.problem else ""
            drop = item.box is None or item.number in doubled
            if item.number in doubled:
                words = f"the same box as object {doubled[item.number]}"
            elif sample.as_stored or leaves:
                drop = drop or not _write_box(element, upright_box(sample, item))
            elif not drop:
                continue
            changed = True
            if drop:
                tree.remove(element)
            done = "clipped" if leaves else "turned with its image"
            done = f"{'dropped' if drop else done}{': ' if words else ''}{words}"
            self._note(sample, f"object {item.number} ({plain(item.name)}) {done}")
        return changed

    def _target_of(self, path: Path) -> Path:
        """Returns the path of a file in the copy, and makes its folder."""
        target = self._target / os.path.relpath(path, self._root)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _note(self, sample: Sample, words: str) -> None:
        name = os.path.relpath(sample.annotation, self._root)
        self._changes.append(f"{plain(name)}: {plain(words)}")


def upright_box(sample: Sample, item: Object) -> np.ndarray:
    """Returns an object's box, float32 [4] yxyx, in the image turned upright."""
    if not sample.as_stored:
        return item.box
    height, width = sample.file.height, sample.file.width
    # Boxes are yxyx, so this exchanges x and y: ``as_stored`` holds only for turns that do.
    x1, y1, x2, y2 = item.box
    if sample.file.orientation in (6, 7):
        x1, x2 = width - x2, width - x1
    if sample.file.orientation in (7, 8):
        y1, y2 = height - y2, height - y1
    return np.array([y1, x1, y2, x2], np.float32)


def _write_box(element: Any, box: np.ndarray) -> bool:
    """Writes a box as VOC does; returns whether it still has an area there, more than a pixel."""
    ymin, xmin, ymax, xmax = corners = (box + [1, 1, 0, 0]).tolist()
    for tag, value in zip(_CORNERS, corners, strict=True):
        _child(element.find("bndbox"), tag).text = f"{value:.10g}"
    return voc_xml.has_area((xmin, ymin, xmax, ymax))


def _child(element: Any, tag: str) -> Any:
    """Returns the first child with a name, which is created if it is missing."""
    found = element.find(tag)
    return ElementTree.SubElement(element, tag) if found is None else found
