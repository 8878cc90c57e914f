"""Signals end a run after the step in hand, a second one at once."""

import os
import signal
from types import SimpleNamespace

import pytest

from keras_frcnn.training.callbacks.stop_on_signal import StopOnSignal, Stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_and_an_evaluation_and_a_second_one_both_at_once(number):
    handler = signal.getsignal(number)
    stop = StopOnSignal()
    stop.set_model(SimpleNamespace(stop_training=False))
    with stop:
        stop.on_train_batch_end(0)
        stop.on_predict_batch_end(0)
        stop.check()
        assert not stop.model.stop_training and stop.received is None
        os.kill(os.getpid(), number)
        stop.on_train_batch_end(0)
        assert stop.model.stop_training
        for check in (lambda: stop.on_predict_batch_end(0), stop.check):
            with pytest.raises(Stopped):
                check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert stop.received == number
    assert signal.getsignal(number) is handler
