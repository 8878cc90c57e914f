import pytest
import tensorflow as tf

from benchmarks import timing


class Clock:
    """Stands still but for what the timed functions take."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def taking(self, *seconds, log=None, name=None):
        """A function whose calls take these, one after the other."""
        left = list(seconds)

        def call():
            self.now += left.pop(0)
            if log is not None:
                log.append(name)

        return call


def test_functions_take_turns_and_the_warm_up_is_left_out():
    clock, log = Clock(), []
    functions = {
        "slow": clock.taking(9, 1, 3, 2, log=log, name="slow"),
        "fast": clock.taking(8, 0.5, 1, 0.25, log=log, name="fast"),
    }
    timings = timing.interleaved(functions, calls=3, warmup=1, clock=clock)
    assert log == ["slow", "fast"] * 4
    assert list(timings) == ["slow", "fast"]
    assert timings["slow"].samples == (1000, 3000, 2000)
    assert timings["fast"].samples == (500, 1000, 250)
    assert timings["slow"].median == 2000


def test_a_spread_is_the_order_statistics():
    spread = timing.Spread.of([40.0, 10.0, 20.0, 30.0, 100.0])
    assert spread == timing.Spread(30.0, 20.0, 40.0, 10.0, 100.0)
    assert timing.Spread.of([1.0, 2.0]) == timing.Spread(1.5, 1.25, 1.75, 1.0, 2.0)
    assert timing.Spread.of([7.0]) == timing.Spread(7.0, 7.0, 7.0, 7.0, 7.0)


def test_a_ratio_is_taken_round_by_round():
    # The machine became ten times slower in the second round, for both.
    ours, theirs = timing.Timing((10.0, 100.0, 10.0)), timing.Timing((20.0, 300.0, 15.0))
    assert theirs.ratio_to(ours) == timing.Spread(2.0, 1.75, 2.5, 1.5, 3.0)
    with pytest.raises(ValueError, match="shorter"):
        theirs.ratio_to(timing.Timing((1.0,)))


def test_no_calls_are_refused():
    with pytest.raises(ValueError, match="at least 1. Received: 0"):
        timing.interleaved({}, calls=0)
    with pytest.raises(ValueError, match="Received: none"):
        timing.Spread.of([])


def test_a_blocking_graph_computes_everything_on_fixed_arguments():
    traced = []
    variable = tf.Variable(0)

    def function(values, none):
        traced.append(values["x"])
        variable.assign_add(1)
        return {"twice": 2.0 * values["x"], "count": tf.size(values["x"]), "none": none}

    call = timing.blocking(function, {"x": tf.constant([1.0, 2.0])}, None)
    for number in (1, 2, 3):
        result = call()
        assert result["twice"].numpy().tolist() == [2, 4]
        assert int(result["count"]) == 2
        assert int(variable) == number
    assert len(traced) == 1
    assert traced[0].op.type == "Placeholder"  # not a constant, which could be folded


def test_peak_memory_is_of_this_process_in_mib():
    before = timing.peak_memory()["peak_rss_mib"]
    assert 50 < before < 100_000
    block = bytearray(200 * timing.MIB)
    block[::4096] = b"x" * len(block[::4096])
    after = timing.peak_memory()["peak_rss_mib"]
    assert after > 150
    assert after >= before
