"""``keras-frcnn make-shapes``: what it hands to the maker of the data set."""

import sys

import keras_frcnn.data
from keras_frcnn.cli import make_shapes


def test_flags_reach_the_maker(monkeypatch, capsys):
    received = []
    fake = type(sys)("keras_frcnn.data.writers.shapes")
    fake.make = lambda output_dir, num_train, num_val, num_test, seed: received.append(
        (output_dir, num_train, num_val, num_test, seed)
    )
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.setattr(keras_frcnn.data.writers, "shapes", fake, raising=False)
    assert make_shapes.main(["--output_dir=out", "--num_train=5", "--num_val=3", "--seed=9"]) == 0
    assert received == [("out", 5, 3, 40, 9)]
    assert capsys.readouterr().out == "Wrote 48 images to out\n"
