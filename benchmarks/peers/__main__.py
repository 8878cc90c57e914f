"""Compares the speed of torchvision's Faster R-CNN and of this package's, on the CPU.

    python -m benchmarks.peers [--what=inference,train_step] [--precision=float32,bfloat16]
        [--size=600x800] [--sizes_of=FOLDER] [--batch=1,2] [--pairs=10] [--check] [--json=FILE]
        [--torch_python=PATH]

Both have VGG16, the same settings, images and weights. Each side runs in its own process, warmed
up, with the same cores and threads. They are called in turn, so that the load of the machine
affects both alike. A ratio of 2 means that keras_frcnn took half of torchvision's time. --check
first checks that both find the same features, proposals and detections.

Images that are all of one size flatter both sides, which prepare once for each size. With
--sizes_of, each pair of calls has the size of another image of a folder, as a run has.

torchvision is not a dependency of this package: without it the command explains how to install it.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import environment, report
from benchmarks.arguments import count, list_of, one_of, size
from benchmarks.peers import workload
from benchmarks.peers.comparison import OURS, PEER, check, compare
from keras_frcnn.config import Config
from keras_frcnn.data.images.files import find_images
from keras_frcnn.data.images.headers import image_header

_WIDTH = 150  # without a terminal
_INSTALL = """Install it into its own environment and give the path of that Python:
  python -m venv peers
  peers/bin/pip install numpy
  peers/bin/pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
  python -m benchmarks.peers --torch_python=peers/bin/python"""


def main(argv: list[str] | None = None) -> int:
    """Runs the comparisons; prints all pairs, a table and, as the last line, JSON.

    Args:
        argv: the command line; None: that of the process.

    Returns:
        The exit code: 1 if a side failed or the two sides gave different answers.
    """
    options = _parser().parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False, markup=False)
    document = {"environment": environment.host(), "checks": [], "comparisons": []}
    console.print(report.environment_text(document["environment"]))
    missing = why_torch_is_missing(options.torch_python)
    if missing:
        console.print(f"\nskipped: {missing}\n{_INSTALL}", soft_wrap=True)
        document["skipped"] = missing
    else:
        try:
            _compare(options, document, console)
        except (RuntimeError, ValueError) as error:
            console.print(str(error), soft_wrap=True)
            document["error"] = str(error)
    line = json.dumps(document)
    print(line)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(line + "\n")
    return int("error" in document)


def _compare(options, document, console):
    """Runs what the command line asks for and adds the results to the document."""
    settings = make_settings(options.clip_norm)
    threads = len(environment.cores())
    document["settings"] = settings

    streams = [(size,) for size in options.size]
    if options.sizes_of:
        streams = [real_sizes(options.sizes_of, options.pairs)]

    def jobs(whats, precisions):
        for values in itertools.product(whats, precisions, streams, options.batch):
            yield workload.Job(*values, threads, options.keep_memory, settings)

    for job in jobs(["inference"], ["float32"]) if options.check else ():
        agreement = check(job, options.torch_python)
        document["checks"].append({"size": job.sizes[0], "batch": job.batch, **agreement})
        words = ", ".join(f"{name} {value:.2g}" for name, value in agreement.items())
        console.print(f"\n{job.label}, same answers: {words}")
    comparisons = []
    for job in jobs(options.what, options.precision):
        comparisons.append(compare(job, options.pairs, options.torch_python))
        document["comparisons"].append(comparisons[-1].to_dict())
        console.print(f"\n{job.label}", *_pairs(comparisons[-1]), sep="\n  ")
    console.print("", _table(comparisons), sep="\n")


def make_settings(clip_norm: float) -> dict:
    """Returns the settings of both detectors: our defaults, which are the paper's."""
    return (
        Config(
            backbone_weights="imagenet",  # required for frozen blocks; never loaded
            frozen_blocks=2,
            learning_rate=1e-6,  # keeps the weights nearly constant
            gradient_clip_norm=clip_norm,
        )
        .validate()
        .to_dict()
    )


def real_sizes(folder: str, number: int) -> list[tuple[int, int]]:
    """Returns the sizes of images of a folder as the detector sees them, drawn with a fixed seed.

    Raises:
        ValueError: naming the folder, if it has no images.
    """
    from keras_frcnn.data.images.transforms import target_shape  # TensorFlow's, as in training

    paths, config = find_images([folder]), Config()
    drawn = np.random.default_rng(0).choice(paths, number, replace=number > len(paths))
    sizes = np.array([image_header(path)[:2] for path in drawn])
    return np.transpose(target_shape(*sizes.T, config.shorter_side, config.longer_side)).tolist()


def why_torch_is_missing(python: str) -> str:
    """Returns why a Python cannot import torch and torchvision; empty if it can."""
    command = [python, "-c", "import torch, torchvision.models.detection"]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stderr.strip().splitlines() or [f"{python} ended with status {done.returncode}"]
    return lines[-1] if done.returncode else ""


def _pairs(comparison):
    """Yields a line for each pair of calls, and the amounts of work of both sides."""
    ours, peer = (comparison.timings[name].samples for name in (OURS, PEER))
    cores = zip(*(comparison.busy_cores[name] for name in (PEER, OURS)), strict=True)
    for number, (a, b, (c, d)) in enumerate(zip(ours, peer, cores, strict=True), start=1):
        yield (
            f"pair {number}: {PEER} {b:.0f} ms on {c:.1f} cores, {OURS} {a:.0f} ms on {d:.1f}, "
            f"ratio {b / a:.2f}"
        )
    for name in (PEER, OURS):
        words = [f"{comparison.images_per_second[name]:.2f} images/s"]
        words += [f"{number} {what}" for what, number in comparison.counts[name].items()]
        words.append(f"{comparison.idle_cores[name]:.3f} cores busy in the other's turns")
        yield f"{name}: {', '.join(words).replace('_', ' ')}"
    if comparison.differences:
        yield f"NOT THE SAME WORK: {', '.join(comparison.differences)} differ"


def _table(comparisons):
    table = Table(title="Medians in ms; ratio = torchvision / keras_frcnn, pair by pair")
    for title in ("", PEER, OURS, "ratio", "middle half", "of the fastest", "peak MiB of both"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for comparison in comparisons:
        ratio, memory = comparison.ratio, comparison.peak_rss_mib
        table.add_row(
            comparison.job.label,
            *(f"{comparison.timings[name].median:.0f}" for name in (PEER, OURS)),
            f"{ratio.median:.2f}",
            f"{ratio.lower_quartile:.2f} - {ratio.upper_quartile:.2f}",
            f"{comparison.ratio_of_fastest:.2f}",
            f"{memory[PEER]} {memory[OURS]}",
        )
    return table


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(name, default, help, **kwargs):
        parser.add_argument(
            f"--{name}", default=default, help=f"{help} Default: {default}.", **kwargs
        )

    add(
        "what",
        "inference,train_step",
        "What to compare.",
        type=list_of(one_of("inference", "train_step")),
    )
    add(
        "precision",
        "float32,bfloat16",
        "bfloat16: torch's autocast and Keras' mixed_bfloat16.",
        type=list_of(one_of("float32", "bfloat16")),
    )
    add("size", "600x800", "Heights and widths of the images.", type=list_of(size))
    parser.add_argument(
        "--sizes_of",
        metavar="FOLDER",
        help="Use the sizes of this folder's images, resized to 600 x 1000, one after the other.",
    )
    add("batch", "1,2", "Images in a call.", type=list_of(count))
    add("pairs", 10, "Timed calls of each side.", type=count)
    add(
        "clip_norm",
        0.0,
        "Both sides clip gradients to this norm; 0: no clipping.",
        type=_not_negative,
    )
    add(
        "torch_python",
        sys.executable,
        "Python that has torch, torchvision and NumPy.",
        type=_interpreter,
    )
    parser.add_argument(
        "--keep_memory",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Both sides keep memory that they have freed, which makes torch faster.",
    )
    parser.add_argument(
        "--check", action="store_true", help="First check that both sides give the same answers."
    )
    parser.add_argument("--json", metavar="FILE", help="Also write the line of JSON to this file.")
    return parser


def _not_negative(text):
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0. Received: {text!r}")
    return number


def _interpreter(text):
    found = shutil.which(text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected a Python interpreter. Received: {text!r}")
    return found


if __name__ == "__main__":
    sys.exit(main())
