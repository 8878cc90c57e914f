"""Ends a run on a signal, a closed pipe or a time limit, so that it can be resumed exactly."""

import contextlib
import errno
import math
import os
import signal
import time
from typing import Any

import keras

from keras_frcnn import signals
from keras_frcnn.console import Console
from keras_frcnn.models.replicas import Replicas

_MANY = 2**16  # more than there are processes in a cluster


class Stopped(Exception):
    """Raised during an evaluation if the run ends."""


class Stop(keras.callbacks.Callback):
    """Ends the run after the current step, or after the image that is being evaluated.

    The causes are Ctrl-C, SIGTERM, SIGHUP, and the end of the time that the run may take. The
    signals are handled only inside its ``with`` block. A second signal interrupts the run
    immediately. A console whose reader has gone, as in ``train | head``, also ends the run. Other
    errors of the console do not, such as a terminal that has gone or a full disk under a log: its
    output is dropped.

    Args:
        console: the console of the run.
        deadline: the value of ``time.monotonic`` at which the run must have ended.
        replicas: those of the run. If one process of a cluster ends, all end at the same step.

    Attributes:
        received: the number of the signal that was received, or None. It is SIGPIPE if the reader
            of the console has gone.
        is_late: whether the run ends because of the deadline.
        reserve: the seconds that the last checkpoint took. After a step, the run ends as long
            before the deadline, and as long as the step took.
    """

    def __init__(
        self,
        console: Console | None = None,
        deadline: float = math.inf,
        replicas: Replicas | None = None,
    ):
        super().__init__()
        self.replicas, self._has_agreed = replicas or Replicas(), False
        self.console, self.received = console, None
        self.deadline, self.is_late, self.reserve = deadline, False, 0.0
        self._step_began = math.inf

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(signals.handled(self._handle))
            if self.console is not None:
                stack.callback(setattr, self.console, "file", self.console.file)
                self.console.file = _Output(self.console.file, self._reader_left)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _handle(self, number, frame):
        if self.received:
            raise KeyboardInterrupt
        self.received = number

    def _reader_left(self):
        self.received = self.received or signal.SIGPIPE

    @property
    def is_due(self) -> bool:
        """Whether a signal was received, or the time is over; in a cluster, as all have agreed."""
        if self.replicas.is_cluster:
            return self._has_agreed
        return bool(self.received) or self.is_late

    def on_train_batch_begin(self, batch, logs=None):
        self._step_began = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        self._watch_time(now + self.reserve + max(now - self._step_began, 0.0))
        self.agree()
        if self.is_due:
            self.model.stop_training = True

    def on_predict_batch_end(self, batch, logs=None):
        self.check()

    def check(self):
        """Raises ``Stopped`` if a signal was received or the time is over."""
        self._watch_time(time.monotonic())
        self.agree()
        if self.is_due:
            raise Stopped

    def agree(self):
        """Tells the other processes of a cluster, and learns, whether one of them must end."""
        if not self.replicas.is_cluster:
            return
        causes = self.replicas.sum(_MANY * bool(self.received) + self.is_late)
        num_signals, num_late = divmod(causes, _MANY)
        if num_signals and not self.received:
            self.received = signal.SIGTERM
        self.is_late = self.is_late or num_late > 0
        self._has_agreed = causes > 0

    def _watch_time(self, end):
        self.is_late = self.is_late or end >= self.deadline


class _Output:
    """A text file that accepts, and drops, what can no longer be written."""

    def __init__(self, file: Any, on_broken_pipe: Any):
        self._file, self._on_broken_pipe = file, on_broken_pipe

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, text):
        with self._dropping():
            self._file.write(text)
        return len(text)

    def flush(self):
        with self._dropping():
            self._file.flush()

    @contextlib.contextmanager
    def _dropping(self):
        try:
            yield
        except OSError as error:
            # Python would fail once more at its end, with the text that it still holds.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._file.fileno())
            if error.errno == errno.EPIPE:
                self._on_broken_pipe()
