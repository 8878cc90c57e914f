"""The signals that end a command."""

import os
import signal
import threading

import pytest

from keras_frcnn import signals

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", ALL)
def test_signals_reach_the_handler_inside_the_block_only(number):
    before, received = [signal.getsignal(one) for one in ALL], []
    with signals.handled(lambda number, frame: received.append(number)):
        os.kill(os.getpid(), number)
    assert received == [number]
    assert [signal.getsignal(one) for one in ALL] == before


def test_a_hangup_that_is_ignored_stays_ignored():
    before, received = signal.signal(signal.SIGHUP, signal.SIG_IGN), []  # as nohup does
    try:
        with signals.handled(lambda number, frame: received.append(number)):
            os.kill(os.getpid(), signal.SIGHUP)
        assert received == []
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_is_closed_hangs_up_twice_but_interrupts_once():
    before, received = signal.getsignal(signal.SIGHUP), []
    with signals.handled(lambda number, frame: received.append(number)):
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), number)
    assert received == [signal.SIGHUP, signal.SIGTERM, signal.SIGTERM]
    assert signal.getsignal(signal.SIGHUP) is before


def test_in_another_thread_nothing_changes():
    seen = []

    def look():
        with signals.handled(lambda number, frame: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
