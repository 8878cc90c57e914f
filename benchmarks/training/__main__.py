"""Trains torchvision's Faster R-CNN beside ours for equal minutes, and measures both.

    python -m benchmarks.training --data_dir=VOCdevkit --torch_python=PATH --output_dir=FOLDER
        [--train_split=VOC2007/trainval] [--eval_split=VOC2007/test] [--minutes=60]
        [--backbone_weights=imagenet] [--sides=keras_frcnn,torchvision] [--flagfile=FILE]

All sides train at the same time, each on its own share of the cores, on the same images of the same
size from the same VGG16 convolutions. A run ends after the minutes, whatever it has reached.
Four checkpoints, one at each quarter of the time, are then measured on the same images by the same
evaluation.

    keras_frcnn        `train.py` with the flagfile, by default that of voc07's first run
    torchvision        torchvision's model and losses with the same settings and initial weights
    torchvision_usual  torchvision's model as its users know it, with its reference recipe: SGD with
                       0.02 for 16 images, a warm-up of 1000 steps, weight decay 0.0001

Learning rates do not decrease, because no side knows its last step. Objects that ours ignores are
left out on the other sides, which cannot ignore any.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import environment, report
from benchmarks.arguments import list_of, one_of
from benchmarks.peers.__main__ import why_torch_is_missing

OURS, SAME, USUAL = "keras_frcnn", "torchvision", "torchvision_usual"
QUARTERS = 4
_ENDLESS = 10**7  # more steps than any side makes
_TORCH_SIDE = "benchmarks.training.torch_side"


def main(argv: list[str] | None = None) -> int:
    """Trains, measures and prints a table; everything is kept in ``--output_dir``.

    Args:
        argv: the command line; None: that of the process.

    Returns:
        The exit code: 1 if a side failed.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    missing = why_torch_is_missing(options.torch_python)
    cores = environment.cores()
    share = len(cores) // len(options.sides)
    if missing:
        parser.error(missing)
    if not share:
        parser.error(f"--sides: each needs a core of its own. There are {len(cores)} cores")
    folder = Path(options.output_dir)
    if any((folder / side).exists() for side in options.sides):
        parser.error(f"--output_dir: {folder} holds an earlier comparison")
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False, markup=False)
    console.print(report.environment_text(environment.host()))
    config = make_config(options)
    write_work(config, options, folder)
    try:
        _train(options, folder, cores, share, console)
        rows = [row for side in options.sides for row in _measure(side, config, options, folder)]
    except subprocess.CalledProcessError as error:
        console.print(f"{error}\nSee the logs in {folder}.", soft_wrap=True)
        return 1
    (folder / "results.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    console.print(_table(rows, options))
    return 0


def make_config(options):
    """Returns the settings of our side, on which those of the others are based."""
    from keras_frcnn.cli import train
    from keras_frcnn.cli.command import parse

    return parse(train.COMMAND, our_flags(options))[0]


def our_flags(options) -> list[str]:
    """Returns the flags of ``train.py`` for our side."""
    return [
        f"--flagfile={options.flagfile}",
        f"--data_dir={options.data_dir}",
        f"--train_split={options.train_split}",
        "--eval_split=-",
        f"--backbone_weights={options.backbone_weights}",
        f"--steps={_ENDLESS}",
        "--lr_schedule=piecewise",
        "--lr_boundaries=",
        f"--max_minutes={options.minutes:g}",
        f"--checkpoint_every={options.minutes / QUARTERS:g}min",
        f"--keep={QUARTERS + 1}",
        f"--output_dir={options.output_dir}/{OURS}",
    ]


def write_work(config, options, folder: Path) -> None:
    """Writes what torchvision's sides need: settings, images with objects, and initial weights."""
    from benchmarks.peers.keras_side import layers_with_weights
    from keras_frcnn import data
    from keras_frcnn.models.build import build_detector
    from keras_frcnn.weights.imagenet import load_imagenet

    trained = data.load_train(config)
    evaluated = data.load(config, (options.eval_split,), trained.class_names, strict=False)
    model = build_detector(config, trained.class_names)
    load_imagenet(model, config)
    arrays = [w for layer in layers_with_weights(model) for w in (layer.kernel, layer.bias)]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "weights.npz", *map(np.asarray, arrays))
    work = {
        "settings": config.to_dict(),
        "class_names": trained.class_names,
        "minutes": options.minutes,
        "quarters": QUARTERS,
        "train": [_row(record) for record in trained.records],
        "eval": [_row(record) for record in evaluated.records],
    }
    (folder / "work.json").write_text(json.dumps(work), encoding="utf-8")


def _row(record):
    kept = ~record.difficult
    return {
        "image_id": record.image_id,
        "path": str(Path(record.path).resolve()),
        "boxes": record.boxes[kept][:, [1, 0, 3, 2]].tolist(),
        "labels": record.labels[kept].tolist(),
    }


def _train(options, folder, cores, share, console):
    """Trains all sides at once, each on its own cores."""
    processes = {}
    for number, side in enumerate(options.sides):
        own = ",".join(map(str, cores[number * share : (number + 1) * share]))
        if side == OURS:
            command = [sys.executable, "train.py", *our_flags(options)]
        else:
            command = [options.torch_python, "-m", _TORCH_SIDE, "train", str(folder), side]
        log = open(folder / f"{side}.log", "w", encoding="utf-8")  # noqa: SIM115 - of the process
        processes[side] = subprocess.Popen(
            ["taskset", "-c", own, *command],
            **{"cwd": environment.ROOT, "stdout": log, "stderr": subprocess.STDOUT},
        )
        console.print(f"{side} trains on cores {own}; log: {log.name}", soft_wrap=True)
    console.print(f"Training takes {options.minutes:g} minutes ...")
    for side, process in processes.items():
        if process.wait():
            for other in processes.values():
                other.terminate()
            raise subprocess.CalledProcessError(process.returncode, side)


def _measure(side, config, options, folder):
    """Measures the checkpoints of a side; yields a row for each."""
    if side == OURS:
        checkpoints = sorted((folder / side / "earlier").glob("*.keras"), key=_step)
        steps = [_step(path) for path in checkpoints]
        with open(folder / side / "metrics.jsonl", encoding="utf-8") as lines:
            last_step = json.loads(lines.readlines()[-1])["step"]
        checkpoints, steps = [*checkpoints, folder / side / "last.keras"], [*steps, last_step]
        sources = [f"--checkpoint={path}" for path in checkpoints[-QUARTERS:]]
        steps = steps[-QUARTERS:]
    else:
        command = [options.torch_python, "-m", _TORCH_SIDE, "detect", str(folder), side]
        with open(folder / f"{side}.log", "a", encoding="utf-8") as log:
            subprocess.run(
                command, cwd=environment.ROOT, stdout=log, stderr=subprocess.STDOUT, check=True
            )
        steps = json.loads((folder / side / "steps.json").read_text(encoding="utf-8"))
        sources = [
            f"--detections={_write_voc(folder / side / str(number), folder)}"
            for number in range(1, QUARTERS + 1)
        ]
    # A side whose first quarter went into its first step has one checkpoint less.
    first = QUARTERS + 1 - len(sources)
    for number, (source, step) in enumerate(zip(sources, steps, strict=True), start=first):
        found = folder / side / f"evaluation_{number}"
        command = [sys.executable, "evaluate.py", source, f"--data_dir={options.data_dir}"]
        command += [f"--eval_split={options.eval_split}", f"--output_dir={found}"]
        started = time.perf_counter()
        with open(folder / f"{side}.log", "a", encoding="utf-8") as log:
            subprocess.run(
                command, cwd=environment.ROOT, stdout=log, stderr=subprocess.STDOUT, check=True
            )
        results = json.loads((found / "results.json").read_text(encoding="utf-8"))
        yield {
            "side": side,
            "minutes": options.minutes * number / QUARTERS,
            "images": step * config.batch_size,
            "results": results,
            "evaluation_seconds": time.perf_counter() - started,
        }


def _step(path):
    return int(path.stem.rpartition("_")[2])


def _write_voc(folder, work):
    """Writes torchvision's detections in a form that ``evaluate`` reads; returns where."""
    from keras_frcnn.evaluation.report import voc_files

    work = json.loads((work / "work.json").read_text(encoding="utf-8"))
    detections = {}
    for number, row in enumerate(work["eval"]):
        with np.load(folder / f"{number}.npz") as arrays:
            detections[row["image_id"]] = dict(arrays)
    voc_files.write_voc(folder / "voc", detections, work["class_names"], "eval")
    return folder / "voc"


def _table(rows, options):
    table = Table(title=f"mAP (VOC, area) on {options.eval_split}")
    for title in ("", "minutes", "images", "mAP", "95 % interval", "11-point"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            row["side"], f"{row['minutes']:g}", str(row["images"]), *figures(row["results"])
        )
    return table


def figures(results: dict) -> tuple[str, str, str]:
    """Returns mAP, its interval and the 11-point mAP of an evaluation, as texts."""
    low, high = results["intervals"]["means"]["map_area"]
    return f"{results['map_area']:.3f}", f"{low:.3f} - {high:.3f}", f"{results['map_11point']:.3f}"


def _minutes(text):
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0. Received: {text!r}")
    return minutes


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data_dir", required=True, help="PASCAL VOC's VOCdevkit.")
    parser.add_argument("--torch_python", required=True, help="Python with torch and torchvision.")
    parser.add_argument("--output_dir", required=True, help="Folder for everything.")
    parser.add_argument("--train_split", default="VOC2007/trainval", help="Default: %(default)s.")
    parser.add_argument("--eval_split", default="VOC2007/test", help="Default: %(default)s.")
    parser.add_argument(
        "--minutes", type=_minutes, default=60.0, help="Minutes of training. Default: %(default)g."
    )
    parser.add_argument(
        "--backbone_weights",
        default="imagenet",
        help="VGG16's weights: imagenet, or a file in Keras' form. Default: %(default)s.",
    )
    parser.add_argument(
        "--sides",
        type=list_of(one_of(OURS, SAME, USUAL)),
        default=[OURS, SAME],
        help=f"Who trains at the same time. Default: {OURS},{SAME}.",
    )
    parser.add_argument(
        "--flagfile",
        default="configs/voc07_two_cores.cfg",
        help="Settings of our side. Default: %(default)s.",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
