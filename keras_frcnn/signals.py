"""The signals that end a command: Ctrl-C, SIGTERM, and SIGHUP when its terminal is closed."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def handled(handler: Callable) -> Iterator[None]:
    """Calls a handler for these signals inside a ``with`` block.

    SIGHUP stays ignored where it is ignored, as under ``nohup``. It is handled only once, because
    a terminal that is closed sends it twice. Python receives signals only in the main thread, so
    nothing changes in other threads.

    Args:
        handler: called with the signal's number and the stack frame, as by ``signal.signal``.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread():
        numbers = []

    def handle(number, frame):
        if number not in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        handler(number, frame)

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
