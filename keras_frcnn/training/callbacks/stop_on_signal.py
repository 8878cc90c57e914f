"""Ends a run on Ctrl-C, SIGTERM, SIGHUP or a closed pipe, so that it can be resumed exactly."""

import contextlib
import errno
import os
import signal
from typing import Any

import keras

from keras_frcnn import signals
from keras_frcnn.console import Console


class Stopped(Exception):
    """Raised during an evaluation if the run was told to stop."""


class StopOnSignal(keras.callbacks.Callback):
    """Ends the run after the current step, or after the image that is being evaluated.

    The signals are handled only inside its ``with`` block. A second signal interrupts the run
    immediately. A console whose reader has gone, as in ``train | head``, also ends the run. Other
    errors of the console do not, such as a terminal that has gone or a full disk under a log: its
    output is dropped.

    Args:
        console: the console of the run.

    Attributes:
        received: the number of the signal that was received, or None. It is SIGPIPE if the reader
            of the console has gone.
    """

    def __init__(self, console: Console | None = None):
        super().__init__()
        self.console, self.received = console, None

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

    def on_train_batch_end(self, batch, logs=None):
        if self.received:
            self.model.stop_training = True

    def on_predict_batch_end(self, batch, logs=None):
        self.check()

    def check(self):
        """Raises ``Stopped`` if a signal was received."""
        if self.received:
            raise Stopped


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
