"""Preprocessing: what a backbone may ask for."""

import pytest

from keras_frcnn.data.images.preprocessing import CAFFE, Preprocessing


def test_caffes_numbers():
    assert (CAFFE.color_order, CAFFE.mean) == ("bgr", (103.939, 116.779, 123.68))
    assert CAFFE.scale == (1.0, 1.0, 1.0)


def test_a_further_divisor_multiplies_the_scale():
    divided = Preprocessing("rgb", (1.0, 2.0, 3.0), (1.0, 2.0, 4.0)).divided_by(58.0)
    assert divided == Preprocessing("rgb", (1.0, 2.0, 3.0), (58.0, 116.0, 232.0))
    assert CAFFE.divided_by(1.0) == CAFFE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"color_order": "gbr"}, "color_order must be 'rgb' or 'bgr'. Received: 'gbr'"),
        ({"scale": (1.0, 0.0, 1.0)}, r"scale must be positive. Received: \(1.0, 0.0, 1.0\)"),
    ],
)
def test_other_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**{"color_order": "rgb", "mean": (0.0, 0.0, 0.0), **changes})
