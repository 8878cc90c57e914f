import os
import signal

import pytest

from benchmarks import child


def test_a_function_is_called_in_another_process():
    assert child.call("math:factorial", 5) == 120
    assert child.call("os:getpid") != os.getpid()
    assert child.call("operator:add", ["a"], [{"b": 1.5}]) == ["a", {"b": 1.5}]


def test_a_process_can_be_held_to_some_cores():
    mine = sorted(os.sched_getaffinity(0))
    assert child.call("benchmarks.environment:cores") == mine
    assert child.call("benchmarks.environment:cores", num_cores=1) == mine[:1]


def test_an_exception_comes_back_as_its_one_line():
    with pytest.raises(child.ChildError, match="JSONDecodeError: Expecting value") as caught:
        child.call("json:loads", "{]"[1:])
    assert not caught.value.out_of_memory
    assert "Traceback" in caught.value.log


@pytest.mark.parametrize(
    ("target", "argument", "message", "out_of_memory"),
    [
        ("builtins:bytearray", 1 << 62, "MemoryError", True),
        ("signal:raise_signal", int(signal.SIGKILL), "killed", True),
        ("signal:raise_signal", int(signal.SIGTERM), "ended by signal 15: no message", False),
        ("sys:exit", "broken by MemoryErrors of old", "broken", True),
    ],
)
def test_a_lack_of_memory_is_told_from_other_ends(target, argument, message, out_of_memory):
    with pytest.raises(child.ChildError, match=message) as caught:
        child.call(target, argument)
    assert caught.value.out_of_memory is out_of_memory


def test_cpp_that_runs_out_of_memory_says_so_before_its_last_line():
    log = "terminate called after throwing 'std::bad_alloc'\nFatal Python error: Aborted\n"
    assert child.error_of(-signal.SIGABRT, log).out_of_memory
    assert not child.error_of(-signal.SIGABRT, "Fatal Python error: Aborted\n").out_of_memory
