"""Ends a run on Ctrl-C or SIGTERM, so that it can be resumed exactly."""

import signal

import keras


class Stopped(Exception):
    """Raised during an evaluation if the run was told to stop."""


class StopOnSignal(keras.callbacks.Callback):
    """Ends the run after the current step, or after the image that is being evaluated.

    The signals are handled only inside its ``with`` block. A second signal interrupts the run
    immediately.

    Attributes:
        received: the number of the signal that was received, or None.
    """

    def __init__(self):
        super().__init__()
        self.received = None

    def __enter__(self):
        self._previous_handlers = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_):
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        if self.received:
            raise KeyboardInterrupt
        self.received = number

    def on_train_batch_end(self, batch, logs=None):
        if self.received:
            self.model.stop_training = True

    def on_predict_batch_end(self, batch, logs=None):
        self.check()

    def check(self):
        """Raises ``Stopped`` if a signal was received."""
        if self.received:
            raise Stopped
