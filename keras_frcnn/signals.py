"""The signals that end a command: Ctrl-C, SIGTERM, and SIGHUP when its terminal is closed."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def handled(handler: Callable) -> Iterator[None]:
    """Calls a handler for these signals inside a ``with`` block.

    SIGHUP stays ignored where it is ignored, as under ``nohup``. Python receives signals only in
    the main thread, so nothing changes in other threads.

    Args:
        handler: called with the signal's number and the stack frame, as by ``signal.signal``.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
