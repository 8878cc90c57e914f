"""What a user waits for before anything is computed: imports, help texts, the first step."""

import subprocess
import sys
import time

from benchmarks import measure
from benchmarks.cases import Case, Result, Row, timed_rows
from benchmarks.environment import ROOT

_COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "import tensorflow": ("-c", "import tensorflow"),
    "import keras_frcnn": ("-c", "import keras_frcnn"),
    "from keras_frcnn import FasterRCNN": ("-c", "from keras_frcnn import FasterRCNN"),
    "train.py --help": ("train.py", "--help"),
}


def run(case: Case) -> Result:
    """Times fresh Python processes in turn; then, here, the first steps of training."""
    functions = {name: lambda words=words: _python(*words) for name, words in _COMMANDS.items()}
    rows = timed_rows(measure.interleaved(functions, case.calls, warmup=1))
    return Result([*rows, *_first_steps(case)])


def _first_steps(case):
    from benchmarks import scene
    from benchmarks.parts import train_step

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
    return [Row(name, measure.Timing((1000 * value,))) for name, value in seconds.items()]


def _python(*words):
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
