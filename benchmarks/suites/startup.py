"""The waiting time before anything is computed: imports, help texts, the first training step."""

import subprocess
import sys
import time

from benchmarks import timing
from benchmarks.cases import Case
from benchmarks.environment import ROOT
from benchmarks.results import Result, Row, timed_rows

COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "import tensorflow": ("-c", "import tensorflow"),
    "import keras_frcnn": ("-c", "import keras_frcnn"),
    "from keras_frcnn import FasterRCNN": ("-c", "from keras_frcnn import FasterRCNN"),
    "train.py --help": ("train.py", "--help"),
}


def run(case: Case) -> Result:
    """Times new Python processes in turn; then, in this process, the first training steps."""
    functions = {name: lambda words=words: _python(*words) for name, words in COMMANDS.items()}
    rows = timed_rows(timing.interleaved(functions, case.calls, warmup=1))
    return Result([*rows, *_first_steps(case)])


def _first_steps(case):
    from benchmarks import scene
    from benchmarks.suites import train_step

    inputs, targets = scene.make_batch(case)
    started = time.perf_counter()
    model = scene.make_model(case, inputs)
    step = train_step.train_step(model, inputs, targets)
    made = time.perf_counter()
    step()
    first = time.perf_counter()
    step()
    second = time.perf_counter()
    seconds = {
        "making the detector": made - started,
        "first train step, tracing included": first - made,
        "second train step": second - first,
    }
    return [Row(name, timing.Timing((1000 * value,))) for name, value in seconds.items()]


def _python(*words):
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
