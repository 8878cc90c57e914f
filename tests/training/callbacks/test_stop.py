"""Signals end a run after the step in hand, a second one at once; so does a reader that left."""

import errno
import io
import os
import signal
from types import SimpleNamespace

import pytest
from rich.console import Console

from keras_frcnn.training.callbacks.stop import Stop, Stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_and_an_evaluation_and_a_second_one_both_at_once(number):
    handler = signal.getsignal(number)
    stop = Stop()
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
        if number == signal.SIGHUP:
            os.kill(os.getpid(), number)  # a terminal that is closed sends it twice
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM if number == signal.SIGHUP else number)
    assert stop.received == number
    assert signal.getsignal(number) is handler


def test_a_run_ends_when_its_time_is_over(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stop = Stop(deadline=160.0)
    stop.set_model(SimpleNamespace(stop_training=False))
    stop.reserve = 20.0
    for ended, is_due in ((115.0, False), (130.0, True)):  # 130 + 20 + 15 is past the deadline
        stop.on_train_batch_begin(0)
        now[0] = ended
        stop.on_train_batch_end(0)
        assert stop.model.stop_training == stop.is_due == is_due
    assert stop.received is None
    with pytest.raises(Stopped):
        stop.check()


def test_an_evaluation_ends_when_the_time_is_over(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stop = Stop(deadline=160.0)
    stop.reserve = 50.0  # the checkpoint of an evaluation is there already
    now[0] = 159.0
    stop.on_predict_batch_end(0)
    now[0] = 160.0
    with pytest.raises(Stopped):
        stop.on_predict_batch_end(0)
    assert stop.is_due


def test_a_reader_that_left_ends_a_run_without_an_error():
    reading, writing = os.pipe()
    with open(writing, "w") as pipe:
        console = Console(file=pipe)
        stop = Stop(console)
        with stop:
            console.print("step 1")
            assert os.read(reading, 100) == b"step 1\n"
            os.close(reading)
            console.print("step 2")
            assert stop.received == signal.SIGPIPE
            console.print("step 3")
        assert console.file is pipe
        console.print("Stopped")  # goes nowhere


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EAGAIN])
def test_a_terminal_that_is_gone_or_a_full_log_does_not_end_a_run(number, tmp_path):
    class Terminal(io.TextIOWrapper):
        def flush(self):
            raise OSError(number, os.strerror(number))

    with open(tmp_path / "a", "wb") as file:
        console = Console(file=Terminal(file))
        with Stop(console) as stop:
            console.print("step 1")
        assert stop.received is None
        Terminal.flush = io.TextIOWrapper.flush
